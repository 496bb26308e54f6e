#!/bin/busybox sh
/bin/busybox echo "labkit: initramfs"
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mkdir -p /tmp
exec < /dev/CONSOLE > /dev/CONSOLE 2>&1
grep -q labkit.probe /proc/cmdline && reboot -f
stty -echo -onlcr
hostname small-vm
ip link set lo up
if grep -q labkit.devices /proc/cmdline; then
  while read -r module; do insmod /modules/$module; done < /modules/order
  ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
fi
echo labkit-ready
while read -r line; do
  sh -c "$line" < /dev/null
  echo "labkit-end $?"
done
