hostname the-machine
echo "a file of the machine" > /outside
ps -o args | grep -q "[n]eighbour-sleeps" || (sh -c 'while :; do sleep 60; done' neigh""bour-sleeps > /dev/null 2>&1 &)
mkdir -p /jail/usr /jail/proc /jail/dev /jail/tmp /jail/etc /jail/root
for name in bin sbin lib lib64; do test -e /jail/$name || ln -s usr/$name /jail/$name; done
test -e /jail/usr/bin || mount --bind /usr /jail/usr
test -e /jail/dev/zero || { mknod -m 666 /jail/dev/zero c 1 5; mknod -m 666 /jail/dev/null c 1 3; }
mountpoint -q /jail/proc || mount -t proc proc /jail/proc
echo "a file of the jail" > /jail/inside
