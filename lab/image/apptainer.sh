#!/bin/sh
# Puts Apptainer into ROOT. Debian has it in sid only; its package installs on trixie's libraries as it is.
# The last hook that uses apt: afterwards only sid's lists are left.
# Called by mmdebstrap as a customize hook: apptainer.sh ROOT
set -eu
root=$1
list=/etc/apt/sources.list.d/sid.list
echo 'deb http://deb.debian.org/debian sid main' > "$root$list"
chroot "$root" apt-get update -q \
    -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=/dev/null -o Acquire::Check-Valid-Until=false
chroot "$root" sh -c 'cd /tmp && apt-get download -q apptainer/sid && dpkg -i apptainer_*.deb && rm apptainer_*.deb'
rm "$root$list"
