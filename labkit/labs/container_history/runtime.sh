#!/bin/sh
# mini-run COMMAND…: a container runtime. Its settings are variables: ROOT (a folder), PARTS
# (what to switch on), GROUP (folders of a control group), MEMORY (bytes), PIDS (processes).
has() { case " $PARTS " in *" $1 "*) true ;; *) false ;; esac; }

# 1. Limits: a control group. Whoever is in it, and all its children, share them.
for folder in $GROUP; do
  mkdir -p $folder
  if has memory; then
    echo $MEMORY > $folder/memory.max || echo $MEMORY > $folder/memory.limit_in_bytes
    echo 0 > $folder/memory.swap.max
  fi
  if has pids; then echo $PIDS > $folder/pids.max; fi
  echo $$ > $folder/cgroup.procs
done 2> /dev/null

# 2. Namespaces: what can't be seen can't be touched.
flags="--mount"
if has uts; then flags="$flags --uts"; fi
if has ipc; then flags="$flags --ipc"; fi
if has net; then flags="$flags --net"; fi
if has user; then flags="$flags --user --map-root-user"; fi
if has pid; then flags="$flags --pid --fork --kill-child"; fi

# 3. A root filesystem, and the program. The old root is gone before it starts.
inside='
  if [ "$NEWROOT" ]; then
    mount --rbind $NEWROOT $NEWROOT; cd $NEWROOT; mkdir -p old
    mount -t proc proc proc; pivot_root . old; umount -l /old
  else mount -t proc proc /proc; fi
  hostname my-container
  exec "$@"'
if has root; then export NEWROOT=$ROOT; else export NEWROOT=; fi
exec /usr/bin/unshare $flags sh -c "$inside" mini-run "$@"
