one() { printf '%s\t%s\n' "$1" "$2"; }
one files "$(ls / | tr '\n' ' ')"
one outside "$(test -e /outside && echo yes || echo no)"
one neighbour "$(ps -o args | grep -q "[n]eighbour-sleeps" && echo yes || echo no)"
one hostname "$(hostname)"
one group "$(tr '\n' ' ' < /proc/self/cgroup)"
one net "$(readlink /proc/self/ns/net)"
one pid "$(readlink /proc/self/ns/pid)"
