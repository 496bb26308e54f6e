one() { printf '%s\t%s\n' "$1" "$2"; }
one kernel "$(uname -r)"
one boot "$(cut -c1-8 /proc/sys/kernel/random/boot_id)"
one system "$( (. /etc/os-release && echo "$PRETTY_NAME") 2>/dev/null || busybox | head -n1 | cut -d' ' -f1,2)"
one hostname "$(cat /proc/sys/kernel/hostname)"
one processes "$(ls -d /proc/[0-9]* | wc -l)"
one pid "$$"
one cpus "$(grep -c ^processor /proc/cpuinfo)"
one memory "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
one mounts "$(wc -l < /proc/self/mounts)"
one devices "$(ls /dev | wc -l)"
one interfaces "$(($(wc -l < /proc/net/dev) - 2))"
one users "$(wc -l < /etc/passwd)"
for n in mnt uts ipc pid net user cgroup time; do one "ns $n" "$(readlink /proc/self/ns/$n | tr -dc 0-9)"; done
