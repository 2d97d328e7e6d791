#!/bin/sh
# The world of a session, in mount and process namespaces of its own: ROOT with a throw-away layer on it, in which each
# FOLDER of this machine is writable under its own path. Runs SCRIPT in it as its only user.
# usage: mounts.sh ROOT WORLD SCRIPT FOLDER...      WORLD is an empty folder
set -eu
root=$1 world=$2 script=$3
shift 3
new=$world/root
mount -t tmpfs -o mode=755 tests "$world"
mkdir "$new" "$world/upper" "$world/work"
mount -t overlay overlay "$new" -o "lowerdir=$root,upperdir=$world/upper,workdir=$world/work"
mount -t proc proc "$new/proc"
mount --bind /sys "$new/sys"
mount -o remount,bind,ro "$new/sys"
mount -t tmpfs -o mode=755 tests "$new/dev"
for node in null zero full random urandom; do
    : >"$new/dev/$node"
    mount --bind "/dev/$node" "$new/dev/$node"
done
ln -s /proc/self/fd "$new/dev/fd"
mkdir "$new/dev/shm"
mount -t tmpfs -o mode=1777 tests "$new/dev/shm"
mount -t tmpfs -o mode=755 tests "$new/run"
mount -t tmpfs -o mode=1777 tests "$new/tmp"
for folder in "$@"; do
    mkdir -p "$new$folder"
    mount --bind "$folder" "$new$folder"
done
# This one stays root and alive, so that the end of unshare reaches it.
chroot --userspec=1000:1000 --groups=1000 "$new" /bin/sh "$script" || exit $?
