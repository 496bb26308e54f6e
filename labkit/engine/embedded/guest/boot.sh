#!/bin/busybox sh
# Sets the machine up: file systems, modules, network, swap; then containerd. dockerd starts when labkit has
# handed over this machine's keys, which are on no disk image.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# The disk image was written by an ordinary user, so its files are owned by that user's number.
# Made right once, on the first boot of a build, before anything else looks at them.
if [ ! -e /var/lib/labkit/owned ]; then
    busybox chown -h -R 0:0 /bin /boot /etc /home /lib* /mnt /opt /root /sbin /srv /usr /var
    mkdir -p /var/lib/labkit
    : >/var/lib/labkit/owned
fi

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp /tmp
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t securityfs -o nosuid,nodev,noexec security /sys/kernel/security 2>/dev/null
mount -t tracefs -o nosuid,nodev,noexec tracing /sys/kernel/tracing 2>/dev/null
mount -t bpf -o nosuid,nodev,noexec bpf /sys/fs/bpf 2>/dev/null
# Containers see the mounts made here as they would under a service manager.
mount --make-rshared /
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /run/lock /run/labkit /run/containerd /run/lxc /var/log
# Controllers are handed down, so that limits can be set below.
for controller in cpuset cpu io memory pids; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
done

# dockerd reads which limits exist from its own group, and the root group has no limit files.
mkdir -p /sys/fs/cgroup/system

# An emulated processor does in 30 ms what a real one does in one: as long as that a thread keeps it, and no timer
# of its own is set for the end of its turn. (Fewer switches: each makes the emulator look up its code anew.)
if grep -q labkit.emulated /proc/cmdline && mount -t debugfs debug /sys/kernel/debug; then
    {
        echo 30000000 >/sys/kernel/debug/sched/base_slice_ns
        echo NO_HRTICK >/sys/kernel/debug/sched/features
        echo NO_HRTICK_DL >/sys/kernel/debug/sched/features
        # A page fault costs an emulated processor as much as copying several pages does: more pages at each,
        # of programs' files and of their memory (a shim's start: 840 faults become 230).
        echo 1048576 >/sys/kernel/debug/fault_around_bytes
        echo always >/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled
    } 2>/dev/null
    umount /sys/kernel/debug
fi

hostname labkit
while read -r module; do
    modprobe -q "$module"
done </etc/modules-load

ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
sysctl -q -p /etc/sysctl.conf
[ -e /swapfile ] && swapon /swapfile

/usr/lib/labkit/service start containerd
echo "labkit: booted" >/dev/kmsg
