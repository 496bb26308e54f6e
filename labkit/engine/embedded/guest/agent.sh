#!/bin/busybox sh
# agent PORT: runs root's commands that arrive over a virtio-serial port, dockerd or no dockerd.
#
# A request is one line:  run ID SECONDS BASE64  |  cancel ID  |  clock SECONDS
# An answer to run is:    ID STATUS LENGTH\n followed by LENGTH bytes of output.
# An answer to clock is:  clock STATUS 0\n  (sent on a port of its own, so nothing interleaves)
# Commands run under /bin/sh with the machine's full tools; this busybox prefers its own, so full paths.
# Each command runs beside the loop, so one that hangs blocks no other.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

port=
for known in /sys/class/virtio-ports/*; do
    [ "$(cat "$known/name" 2>/dev/null)" = "$1" ] && port=/dev/${known##*/}
done
[ -n "$port" ] || exec sleep 1000000
exec 3<>"$port" || exec sleep 5

# When the machine runs out of memory, the way in must be the last thing to go.
echo -1000 >/proc/self/oom_score_adj
cd /root

answer() { # id seconds command
    out=/run/labkit/$1
    (
        # The agent is protected, what it runs is not: a command may well be what fills the memory.
        echo 0 >/proc/self/oom_score_adj
        exec setsid /usr/bin/timeout -k 2 "$2" /bin/sh -c "$3" >"$out" 2>&1 </dev/null 3>&-
    ) &
    echo $! >"$out.pid"
    wait $!
    status=$?
    exec 4<"$out"
    length=$(stat -L -c %s "$out")
    rm -f "$out" "$out.pid"
    # Only one answer at a time may be on the wire.
    exec 5>"/run/labkit/lock.${port##*/}"
    flock 5
    printf '%s %s %s\n' "$1" "$status" "$length" >&3
    head -c "$length" <&4 >&3
}

while read -r verb id limit encoded <&3; do
    case $verb in
    run) answer "$id" "$limit" "$(printf %s "$encoded" | base64 -d)" & ;;
    cancel) kill -KILL "-$(cat "/run/labkit/$id.pid")" 2>/dev/null ;;
    clock)
        /usr/bin/date -s "@$id" >/dev/null
        echo "clock $? 0" >&3
        ;;
    esac
done
