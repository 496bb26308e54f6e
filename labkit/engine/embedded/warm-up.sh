
cd /; d="docker -H unix:///run/docker.sock"
image=$($d images -q labkit/busybox | head -n 1); image=${image:-$($d images -q | head -n 1)}
[ -n "$image" ] || exit 0
$d run --rm "$image" true
$d run -d --name warm --memory 32m -p 127.0.0.1:0:80 "$image" sleep 60
$d exec warm true
$d inspect warm; $d logs warm; $d top warm; $d pause warm; $d unpause warm
$d network create warm && $d network connect warm warm && $d network disconnect warm warm
$d kill warm; $d rm -f warm; $d network rm warm
for image in $($d images -q); do $d run --rm --runtime crun "$image" true || $d run --rm "$image" true; done
$d events --since 1m --until 0s
runc --version; crun --version; strace -V; lxc-info --version; nsenter --version; unshare --version; ps ax; ip address
sync
