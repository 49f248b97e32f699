#!/bin/bash
# The first process of the second bed's namespaces: makes its folder their root, then waits for the
# processes that have lost their parent.
set -euo pipefail
bed=$1 network=$2 data=$3
umask 022

read -r number _ </proc/self/stat # as the machine counts: /proc is still the machine's
echo "$number" >"$bed/init"
flock 9 # its end tells that all here has ended

cd "$bed/root"
mount --bind . .
cd "$bed/root" # the mount
mkdir -p proc sys dev run tmp old opt/hpcdl-data
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/fuse c 10 229
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir dev/pts dev/shm run/lock
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
if [ -d "$data" ]; then
  mount --bind "$data" opt/hpcdl-data
  mount -o remount,bind,ro opt/hpcdl-data
fi
if [ "$network" = machine ]; then
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ -e "$file" ] || continue
    [ -e ".$file" ] || : >".$file"
    mount --bind "$file" ".$file"
  done
else
  echo second >/proc/sys/kernel/hostname
  echo "127.0.0.1 localhost second" >etc/hosts
fi

pivot_root . old
hash -r
umount -l /old
if [ "$network" != machine ]; then
  ip link set lo up
  ip address add 10.9.9.9/24 dev lo # for getaddrinfo, which wants an address beside the loopback's
fi
# By the root's own bash, so that nothing of the machine stays in use.
# shellcheck disable=SC2016 # that bash's variables
exec /bin/bash -c 'touch /run/hpcdl-ready; while true; do sleep infinity & wait $!; done'
