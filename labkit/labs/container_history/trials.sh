counter() { sed -n "s/^$1 //p" $2 2>/dev/null || true; }
mkfifo /tmp/gate 2>/dev/null || true
run() { sh -c 'read -r _ < /tmp/gate; eval "$0"' "$1" > /tmp/out 2>&1 & job=$!; join $job; echo > /tmp/gate; wait $job; status=$?; }
run 'dd if=/dev/zero of=/dev/null bs=$((2 * MEMORY)) count=1'
echo "memory $status"; head -n 1 /tmp/out
run 'for i in $(seq 1 60); do sleep 1 & done; wait'
grep -qiE "fork|resource|unavailable" /tmp/out && echo "pids refused" || echo "pids allowed"; head -n 1 /tmp/out
sleep 1.2
run 'read -r now _ < /proc/uptime; end=$((${now%.*} + 2)); while [ ${now%.*} -lt $end ]; do read -r now _ < /proc/uptime; done'
echo "throttled $(counter nr_throttled $STAT)"; cat $STAT || true
rm -f /tmp/gate
