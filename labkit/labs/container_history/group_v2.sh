cd /sys/fs/cgroup$OWN
mkdir -p main by-hand
for p in $(cat cgroup.procs); do echo $p > main/cgroup.procs; done 2> /dev/null
echo "+memory +pids +cpu" > cgroup.subtree_control
echo $MEMORY       > by-hand/memory.max
echo 0             > by-hand/memory.swap.max
echo $PIDS         > by-hand/pids.max
echo $CPU 100000   > by-hand/cpu.max
join() { echo $1 > /sys/fs/cgroup$OWN/by-hand/cgroup.procs; }
