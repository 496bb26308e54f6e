for c in memory pids cpu; do
  mkdir -p /sys/fs/cgroup/$c$OWN/by-hand
done
cd /sys/fs/cgroup
echo $MEMORY > memory$OWN/by-hand/memory.limit_in_bytes
echo $MEMORY > memory$OWN/by-hand/memory.memsw.limit_in_bytes 2> /dev/null
echo $PIDS   > pids$OWN/by-hand/pids.max
echo 100000  > cpu$OWN/by-hand/cpu.cfs_period_us
echo $CPU    > cpu$OWN/by-hand/cpu.cfs_quota_us
join() { for c in memory pids cpu; do echo $1 > /sys/fs/cgroup/$c$OWN/by-hand/cgroup.procs; done; }
