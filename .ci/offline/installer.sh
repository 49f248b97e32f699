#!/bin/sh
# hpcdl @VERSION@ for Linux on @ARCH@, with all that it needs: installs without internet. Try: sh FILE --help
# Below this text lie a Python program and packed wheels. Neither is used before the sum is compared.
# POSIX sh only: dash and busybox read it, too.
set -u

version='@VERSION@'
arch='@ARCH@'
pythons='@PYTHONS@'
sum='@SUM@' # sha256 of this file with zeros in the sum's place
size='@SIZE@' # bytes of this file
code='@CODE@' # where the program begins
wheels='@WHEELS@' # where the packed wheels begin

stop() {
  printf 'hpcdl-installer: %s\n' "$1" >&2
  exit "${2:-1}"
}

# First of all: what follows may be cut off.
[ -f "$0" ] || stop "start it as a file: sh hpcdl-$version-linux-$arch.run" 2
bytes=$(($(wc -c <"$0")))
[ "$bytes" = "$size" ] || stop "$0 is not whole: it has $bytes bytes, not $size; copy it again, and as a binary file"

help() {
  cat <<END
hpcdl $version for Linux on $arch, for a machine without internet.

  sh FILE [--prefix DIR] [--python PATH]   install, or upgrade what is there
  sh FILE --list                           the packages in this file
  sh FILE --prune [--prefix DIR]           remove older versions, which queued jobs may still use
  sh FILE --remove [--prefix DIR]          remove all that this installer made

  --prefix DIR   where to install, on a file system that the compute nodes see, too;
                 otherwise \$HOME/hpcdl-offline
  --python PATH  the Python to use, one of: $pythons;
                 otherwise the newest of them on PATH. The compute nodes need it at the same path.

Nothing outside DIR is changed, and nothing is fetched.
END
}

# Says "fits", or what keeps a Python from running hpcdl. Old Pythons read it, too.
probe='
import sys
version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[2].split():
    sys.exit("it is Python " + version)
import platform, sysconfig
if platform.python_implementation() != "CPython":
    sys.exit("it is not CPython")
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("it is the build without the global lock, for which there are no wheels")
if platform.machine() != sys.argv[1] or sys.maxsize < 2**32:
    sys.exit("it is not built for " + sys.argv[1])
for name in ("lzma", "zlib", "hashlib", "venv"):
    try:
        __import__(name)
    except ImportError:
        sys.exit("it has no module " + name)
print("fits")
'

# Whether a Python can run hpcdl; the reason why not is kept in $reasons.
fits() {
  reason=$("$1" -I -c "$probe" "$arch" "$pythons" 2>&1)
  [ "$reason" != fits ] || return 0
  reason=$(printf '%s\n' "$reason" | sed '/./!d' | head -n 1)
  reasons="$reasons
  $1: ${reason:-it is no Python}"
  return 1
}

find_python() {
  reasons=
  for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
    python=$(command -v "$name") || continue
    fits "$python" && return
  done
  stop "no Python on PATH can run hpcdl; it needs one of $pythons.${reasons:-
  there is no python3 on PATH}
Load the site's module of a newer Python (module avail python), or give one: --python /path/to/python3"
}

given_python() {
  reasons=
  python=$(command -v "$1") || stop "--python $1: there is no such program; give the path of a python3" 2
  fits "$python" || stop "this Python cannot run hpcdl; it needs one of $pythons.$reasons" 2
}

# Compares the sum, then hands over to the program in this file.
boot='
import hashlib, sys
path, sum_, code, wheels = sys.argv[1:5]
data = open(path, "rb").read()
zeroed = data.replace(sum_.encode(), b"0" * 64, 1)
if hashlib.sha256(zeroed).hexdigest() != sum_:
    sys.exit("hpcdl-installer: %s was changed on its way: its sum differs; copy it again, and as a binary file" % path)
program = {"__name__": "hpcdl_installer"}
exec(compile(data[int(code):int(wheels)], "hpcdl_installer", "exec"), program)
sys.exit(program["main"](path, data[int(wheels):], sys.argv[5:]))
'

main() {
  asked=
  previous=
  for word in "$@"; do
    case $word in
      --help | -h) help && exit ;;
      --python=*) asked=${word#--python=} ;;
    esac
    [ "$previous" != --python ] || asked=$word
    previous=$word
  done
  machine=$(uname -s -m)
  [ "$machine" = "Linux $arch" ] ||
    stop "this file is for Linux $arch, and this machine is $machine: take the file hpcdl-$version-linux-${machine#* }.run, if there is one"
  if [ -n "$asked" ]; then given_python "$asked"; else find_python; fi
  exec "$python" -I -B -X utf8 -c "$boot" "$0" "$sum" "$code" "$wheels" "$@"
}

main "$@"
exit
