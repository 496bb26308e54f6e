#!/bin/sh
# keeper FOLDER PROGRAM ARGUMENTS...
#
# Runs one machine for as long as standard input stays open, then ends it and clears its folder away.
# Whoever started it holds the other end of the pipe. The kernel closes that however the holder ends,
# so a killed notebook leaves no machine behind. (A parent-death signal alone would not do for the
# notebook: it follows the thread that forked. This shell has only one, so QEMU may follow it.)
folder=$1
shift
exec 3<&0 </dev/null
if setpriv --pdeathsig KILL true 2>/dev/null; then
    set -- setpriv --pdeathsig KILL "$@"
fi
"$@" 3<&- &
machine=$!
echo "$machine" >"$folder/pid"
trap 'kill -KILL "$machine" 2>/dev/null' TERM INT HUP
(
    read -r _ <&3
    kill -KILL "$machine" 2>/dev/null
) &
watcher=$!
exec 3<&-
wait "$machine"
status=$?
# wait also returns when a signal arrives: make sure.
wait "$machine" 2>/dev/null
kill "$watcher" 2>/dev/null
rm -rf "$folder"
exit "$status"
