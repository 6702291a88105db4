#!/bin/sh
# Puts Slurm's headers of ROOT's own release into ROOT/usr/include/slurm, without libslurm-dev's dependencies:
# the SPANK plugin is compiled on the host against them.
# Called by mmdebstrap as a customize hook: headers.sh ROOT
set -eu
root=$1
chroot "$root" sh -c '
    cd /tmp && apt-get download -q libslurm-dev && dpkg-deb -x libslurm-dev_*.deb libslurm-dev &&
    mkdir -p /usr/include && mv libslurm-dev/usr/include/slurm /usr/include/slurm &&
    rm -r libslurm-dev libslurm-dev_*.deb'
