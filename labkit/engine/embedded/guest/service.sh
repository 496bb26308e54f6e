#!/bin/busybox sh
# service start|stop|kill|status [containerd|dockerd]
#
# Nothing here restarts a daemon that ends: a lab stops and kills them on purpose.
# start returns at once; labkit waits for the answer over the network.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

alive() {
    pid=$(cat "/run/labkit/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

emulated() {
    grep -q labkit.emulated /proc/cmdline
}

start() {
    alive "$1" && return 0
    case $1 in
    containerd) rm -f /run/containerd/containerd.sock ;;
    dockerd) rm -f /run/docker.pid ;;
    esac
    # Out of the agent's own out-of-memory protection, with the usual scores of these daemons.
    (
        echo 0 >/sys/fs/cgroup/system/cgroup.procs
        # A service manager's defaults: containers inherit them.
        ulimit -Hn 524288
        ulimit -Sn 1024
        # A program in Go sleeps for 20 us at a time, thousands of times a second, and each wake-up of an emulated
        # processor costs more than that: those of 2 ms may become one.
        ! emulated || echo 2000000 >/proc/self/timerslack_ns
        case $1 in
        containerd) echo -999 >/proc/self/oom_score_adj ;;
        dockerd)
            echo -500 >/proc/self/oom_score_adj
            # A machine without keys (the first boot, and what an export holds) answers on its own socket only.
            [ -e /etc/docker/server-key.pem ] || set -- dockerd --config-file /usr/lib/labkit/local.json
            # For whoever asks for it: labs do where the processor is emulated (quick_runtime in labkit/engine/client.py).
            set -- "$@" --add-runtime crun=/usr/bin/crun
            ;;
        esac
        exec setsid "$@" </dev/null >>"/var/log/$1.log" 2>&1
    ) &
    echo $! >"/run/labkit/$1.pid"
}

end() { # name signal
    alive "$1" || return 0
    kill "-$2" "$pid"
    tries=0
    while [ -d "/proc/$pid" ] && [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]; do
        [ $tries -ge 400 ] && return 1
        usleep 50000
        tries=$((tries + 1))
    done
    rm -f "/run/labkit/$1.pid"
}

action=$1
shift
[ $# -gt 0 ] || set -- dockerd containerd
for name; do
    case $action in
    start) start "$name" ;;
    stop) end "$name" TERM || { echo "$name did not stop within 20 s" && exit 1; } ;;
    kill) end "$name" KILL || { echo "$name did not die within 20 s" && exit 1; } ;;
    status) if alive "$name"; then echo "$name running $pid"; else echo "$name stopped"; fi ;;
    esac
done
