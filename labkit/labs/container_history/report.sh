one() { printf '%s\t%s\n' "$1" "$2"; }
one files "$(test -e /outside && echo yes || echo no): $(ls /outside 2>&1)"
victim=$(ps -o pid,args | awk '/[n]eighbour-sleeps/ && !/awk/ { print $1; exit }')
one processes "$(test "$victim" && echo yes || echo no): $(ps | wc -l) lines of ps"
one kill "$(test "$victim" && kill -9 $victim 2> /dev/null && echo yes || echo no)"
one network "$(grep -q shop0 /proc/net/dev && echo yes || echo no): $(sed -n 's/:.*//p' /proc/net/dev | tr -s ' \n' ' ')"
one segments "$(test $(wc -l < /proc/sysvipc/shm) -gt 1 && echo yes || echo no): $(wc -l < /proc/sysvipc/shm) lines of /proc/sysvipc/shm"
read -r _ _ ids < /proc/self/uid_map
one root "$(test $ids -gt 1 && echo yes || echo no): $ids user numbers mapped"
one memory "$(dd if=/dev/zero of=/dev/null bs=33554432 count=1 2> /dev/null && echo yes || echo no: dd ended with $?)"
said=$(sh -c 'for i in $(seq 1 40); do sleep 1 > /dev/null 2>&1 & done' 2>&1) && one forks yes || one forks "no: $said"
