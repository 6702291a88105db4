#!/bin/sh
# Makes ROOT/boot/lab-initrd: busybox, the few modules between power-on and a mounted root, and an init.
# Debian's own initrd probes for every machine there is, which takes QEMU's TCG ten seconds; this one takes one.
# Called by mmdebstrap as a customize hook: initrd.sh ROOT
set -eu
root=$1
kernel=$(ls "$root/lib/modules")
work=$root/tmp/initrd
modules="virtio_blk ext4 virtio_net"

mkdir -p "$work/bin" "$work/modules" "$work/proc" "$work/dev" "$work/root"
cp "$root/bin/busybox" "$work/bin/busybox"

# modprobe prints the dependencies in the order of loading. The numbers keep that order for the init's glob.
# busybox's insmod reads no xz, so they are unpacked here, once.
chroot "$root" modprobe --show-depends --all --set-version "$kernel" $modules |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    chroot "$root" python3 -c '
import lzma, pathlib, sys
for number, line in enumerate(sys.stdin):
    module = pathlib.Path(line.strip())
    pathlib.Path(f"/tmp/initrd/modules/{number:02}-{module.stem}").write_bytes(lzma.open(module).read())'

cat > "$work/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do busybox insmod "$module"; done
busybox mount -t ext4 -o noatime /dev/vda /root || exec busybox sh
busybox mount -t ext4 -o ro /dev/vdb /root/opt/tierwise || exec busybox sh
busybox mount --move /dev /root/dev
busybox umount /proc
exec busybox switch_root /root /opt/tierwise/lab/image/init
INIT
chmod 755 "$work/init"

chroot "$root" sh -c 'cd /tmp/initrd && find . | cpio --quiet -o -H newc > /boot/lab-initrd'
rm -r "$work"
