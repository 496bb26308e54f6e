hostname the-machine
ip link show shop0 > /dev/null 2>&1 || ip link add shop0 type dummy 2> /dev/null || ip link add shop0 type bridge 2> /dev/null || true
python3 -c 'import ctypes; ctypes.CDLL(None).shmget(4711, 4096, 0o1600)'
printf '%s' "$RUNTIME" > /usr/bin/mini-run; chmod 755 /usr/bin/mini-run
GROUP="$GROUP" /usr/bin/mini-run sh -c "$REPORT" 2>&1
echo "hostname	$(test "$(hostname)" = the-machine && echo no || echo yes)"
hostname the-machine
