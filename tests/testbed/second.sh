#!/bin/bash
# A second cluster on the test bed's machine, with a newer Debian's SLURM and Python: the test bed
# in a root folder and namespaces of its own, so that neither sees the other. README.md says more.
set -Eeuo pipefail
trap '[ $? = 3 ] || die "failed in ${FUNCNAME[0]:-main}: $BASH_COMMAND; logs are in $STATE/log"' ERR

. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
. "$HERE/apptainer.sh"
. "$HERE/images.sh"

readonly SUITE=${1:-}
readonly BED=$STATE-$SUITE          # its root, and the process number of its init
readonly INSIDE=/opt/hpcdl-checkout # in the root: a copy of this checkout
readonly TESTS=/opt/hpcdl-tests     # in the root: the Python that pytest runs in

main() {
  local verb=${2:-}
  [[ $SUITE =~ ^(trixie|sid)$ && $verb =~ ^(up|test|run|down)$ ]] || usage
  shift 2
  [[ $# = 0 || $verb =~ ^(test|run)$ ]] || usage
  check_machine
  umask 022
  mkdir -p "$STATE/log" "$CACHE/roots"
  "verb_$verb" "$@"
}

usage() {
  cat >&2 <<'END'
usage: second.sh SUITE up            start it, all anew; its root is made once (minutes)
       second.sh SUITE test [WORDS]  pytest in it: of tests marked second_bed, or as WORDS say
       second.sh SUITE run COMMAND   run a command in it, as root, in its copy of this checkout
       second.sh SUITE down          end everything in it; only the cached root stays
SUITE is a name of Debian's: trixie (SLURM 24.11, Python 3.13) or sid (SLURM 26.05)
END
  exit 2
}

verb_up() {
  locked machine prepare_machine
  locked "$SUITE" start_bed
}

verb_test() {
  must_be_up
  bring_checkout
  [ $# -gt 0 ] || set -- -m second_bed tests/testbed
  in_bed HPCDL_REQUIRE_TESTBED=1 "$TESTS/bin/python" -m pytest -p no:cacheprovider "$@" || exit
}

verb_run() {
  must_be_up
  in_bed "$@" || exit
}

verb_down() {
  locked "$SUITE" remove_bed
}

# What the machine itself must have: the tools that make a root, and the image most jobs run in.
prepare_machine() {
  install_packages
  install_apptainer
  [ -e "$CACHE/apptainer/complete" ] || download_apptainer "$CACHE/apptainer"
  build_images python3.11
}

start_bed() {
  local archive
  archive=$(root_archive)
  remove_bed
  mkdir -p "$BED/root"
  [ -s "$archive" ] || phase "root of $SUITE" make_archive "$archive"
  phase unpack tar -x -f "$archive" -I zstd -C "$BED/root" --numeric-owner
  bring_checkout
  bring_images
  boot no-network
  in_bed tests/testbed/testbed.sh up
}

# With the first process of a process namespace end all others, and with them its mounts.
remove_bed() {
  if is_up; then end_bed; fi
  rm -rf --one-file-system "$BED"
}

end_bed() {
  kill -KILL "$(<"$BED/init")"
  wait_for 30 "the end of the second bed" is_down
}

# Its first process holds this lock for life, whoever was killed meanwhile.
is_down() {
  flock --nonblock "$BED.lock" true
}

is_up() {
  ! is_down
}

must_be_up() {
  is_up || die "the second bed is not up: run '$0 $SUITE up' first"
}

# boot NETWORK: starts the namespaces in the root; NETWORK is `machine` or `no-network`.
boot() {
  local namespaces=(--mount --pid --uts --ipc)
  [ "$1" = machine ] || namespaces+=(--net)
  setsid unshare "${namespaces[@]}" --fork "$HERE/second-init.sh" "$BED" "$1" "$DATA" \
    </dev/null >"$STATE/log/second-init.log" 2>&1 9>"$BED.lock" &
  wait_for 30 "the start of the second bed" test -s "$BED/init"
  wait_for 30 "the start of the second bed" enter test -e /run/hpcdl-ready
}

# enter COMMAND...: runs it in the namespaces and the root.
enter() {
  nsenter --target "$(<"$BED/init")" --mount --pid --uts --ipc --net --root --wd -- "$@"
}

# in_bed [NAME=VALUE]... COMMAND...: as root's login shell would, in the copy of the checkout.
in_bed() {
  local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  enter env -i -C "$INSIDE" PATH=$path HOME=/root LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 HPCDL_TEST_DATA=/opt/hpcdl-data "$@"
}

# Only what git keeps or would keep: tests that run in the checkout meanwhile write other files.
bring_checkout() {
  local copy=$BED/root$INSIDE
  rm -rf "$copy"
  mkdir -p "$copy"
  git -C "$CHECKOUT" ls-files -z --cached --others --exclude-standard |
    tar -c -C "$CHECKOUT" --null --files-from=- --ignore-failed-read |
    tar -x -C "$copy" --no-same-owner
}

# All images that are there, also for tests that CI does not run here. Hard links, if possible.
bring_images() {
  local name folder=$BED/root/var/cache/hpcdl-testbed/images
  mkdir -p "$folder"
  for name in "${IMAGES[@]}"; do
    [ ! -e "$(image_file "$name")" ] || bring "$(image_file "$name")" "$folder"
  done
}

bring() {
  ln "$1" "$2/" 2>/dev/null || cp --preserve=mode,timestamps "$1" "$2/"
}

# The root's file in the cache. The name changes with anything that could change what is in it.
root_archive() {
  local hash
  hash=$({
    packages_of_root
    python3 "$CHECKOUT/.ci/releases.py" wanted
    cat "$HERE/etc/venv-requirements.txt"
    cat "$(tested_versions)"
    declare -f make_root install_apptainer make_venv make_users make_modules
  } | sha256sum)
  echo "$CACHE/roots/$SUITE-${hash:0:12}.tar.zst"
}

packages_of_root() {
  printf '%s\n' "${PACKAGES[@]%%:*}" ca-certificates iproute2 procps | paste -sd,
}

# The file of exact versions for its Python; an empty one where none are kept.
tested_versions() {
  case $SUITE in
    trixie) echo "$CHECKOUT/.ci/tested-3.13.txt" ;;
    *) echo /dev/null ;;
  esac
}

# make_archive FILE
make_archive() {
  local log=$STATE/log/second-$SUITE.log
  echo "testbed: making the root of $SUITE"
  make_root "$1" >"$log" 2>&1 &
  wait $! || {
    tail -n 5 "$log" >&2
    die "the root of $SUITE was not made; see $log. It is not in $CACHE/roots yet," \
      "and to make it takes the network: $(debian_mirror) and PyPI"
  }
}

make_root() {
  local root=$BED/root archive=$1 wanted settings
  local any_age='Acquire::Check-Valid-Until "false"' # a mirror may be a snapshot
  mmdebstrap --mode=root --variant=minbase --include="$(packages_of_root)" --aptopt="$any_age" \
    "$SUITE" "$root" "$(debian_mirror)"
  touch "$root$SECOND_BED"
  bring_checkout
  mkdir -p "$root/var/cache/hpcdl-testbed"
  cp -r "$CACHE/apptainer" "$root/var/cache/hpcdl-testbed/"
  boot machine
  mapfile -t settings < <(env | grep -iE '^(https?_proxy|no_proxy|PIP_[A-Z_]+)=' || true)
  in_bed "${settings[@]}" tests/testbed/testbed.sh prepare
  in_bed python3 -m venv "$TESTS"
  mapfile -t wanted < <(python3 "$CHECKOUT/.ci/releases.py" wanted)
  enter tee /run/versions <"$(tested_versions)" >/dev/null
  in_bed "${settings[@]}" "$TESTS/bin/python" -m pip install -q --no-cache-dir \
    --constraint /run/versions "${wanted[@]}"
  end_bed
  rm -rf "$BED/init" "$root$INSIDE" "$root"/var/cache/{apt,hpcdl-testbed} "$root"/var/lib/apt/lists
  tar -c -C "$root" --numeric-owner . | zstd -q -T0 -3 -o "$archive.new" -f
  rm -f "$CACHE/roots/$SUITE"-????????????.tar.zst # older recipes' roots
  mv "$archive.new" "$archive"
  rm -rf "$root"
  mkdir "$root"
}

main "$@"
