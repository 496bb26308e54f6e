#!/bin/busybox sh
# First program of the machine, from the initramfs: load what the disk needs, mount it, hand over.
# The kernel is Debian's or Ubuntu's own, which has the disk's driver as a module.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
echo "labkit: initramfs"

# Asked only whether a kernel runs under this accelerator at all (see accel.py).
case " $(/bin/busybox cat /proc/cmdline) " in
*" labkit.probe "*) /bin/busybox poweroff -f ;;
esac

while read -r module; do
    /bin/busybox insmod "/modules/$module"
done </modules/order

tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do
    /bin/busybox usleep 50000
    tries=$((tries + 1))
done
# The disk is thrown away with its machine: nobody waits until it is flushed.
/bin/busybox mount -t ext4 -o noatime,nobarrier /dev/vda /disk || echo "labkit: no disk"
/bin/busybox mount -o move /dev /disk/dev
/bin/busybox umount /sys
/bin/busybox umount /proc
exec /bin/busybox switch_root /disk /sbin/init
