
set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"; cd "$2/root"
for store in run $4; do mount --bind "$2/$store" "$store"; done
mount --rbind /proc proc; mount --rbind /dev dev; mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t sysfs sys sys; mount --rbind /sys/fs/cgroup sys/fs/cgroup
ip link set lo up
pivot_root . mnt; cd /; umount -l /mnt; mount --make-rshared /
ulimit -c 0
