mkdir -p /bundle/rootfs/bin /bundle/rootfs/proc /bundle/rootfs/dev /bundle/rootfs/sys
cd /bundle; test -f rootfs/bin/busybox || cp /usr/bin/busybox rootfs/bin/
test -f config.json || /usr/bin/runc spec
python3 - "$@" <<'END'
import json, os
config = json.load(open("/bundle/config.json"))
config["process"] |= {"terminal": False, "args": json.loads(os.environ["ARGUMENTS"])}
rows = [line.split(":", 2) for line in open("/proc/self/cgroup").read().split()]
own = next(path for _, names, path in rows if names in ("", "memory"))
config["linux"]["cgroupsPath"] = own + "/bundle"
json.dump(config, open("/bundle/config.json", "w"))
END
