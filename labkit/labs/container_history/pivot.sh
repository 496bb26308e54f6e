mount --make-rprivate /
mount --rbind /jail /jail
cd /jail
mkdir -p old
pivot_root . old
umount -l /old
rm -rf /door
python3 -c "$WALK"
