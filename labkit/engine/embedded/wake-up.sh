
d="docker -H unix:///run/docker.sock"; image=$($d images -q | head -n 1)
[ -z "$image" ] || $d run --rm "$image" true
sync
