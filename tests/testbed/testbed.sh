#!/bin/bash
# Brings up, on one Debian machine, a small cluster like the ones hpcdl is for: a real SLURM, a real Apptainer,
# images with Python and TensorFlow, a shared filesystem and ordinary users. Read README.md for what lies where.
set -Eeuo pipefail
trap '[ $? = 3 ] || die "failed in ${FUNCNAME[0]:-main}: $BASH_COMMAND; logs are in $STATE/log"' ERR

. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
. "$HERE/apptainer.sh"
. "$HERE/images.sh"
. "$HERE/slurm.sh"
. "$HERE/seff.sh"

main() {
  local verb=${1:-}
  shift || true
  case $verb in
    up | down | status | images | prepare) [ $# = 0 ] || usage ;;
    install) [ $# = 1 ] || usage ;;
    start | stop | kill)
      [ $# = 1 ] || usage
      is_daemon "$1" || usage
      ;;
    *) usage ;;
  esac
  check_machine
  umask 022
  mkdir -p "$STATE/log" "$CACHE" "$PREFIX"
  cd "$STATE" # daemons and ordinary users' commands must not start in a folder they cannot read
  "verb_$verb" "$@"
}

usage() {
  cat >&2 <<'END'
usage: testbed.sh up                start everything; installs and builds what is missing, bar the TensorFlow images
       testbed.sh images            build the TensorFlow images that are missing
       testbed.sh prepare           install what `up` needs, and start nothing
       testbed.sh install CHECKOUT  put that checkout's hpcdl into the login node's Python
       testbed.sh status            say what runs and what lies where
       testbed.sh stop DAEMON       take slurmctld, slurmdbd, slurmd.n1, ... slurmd.n4 away; what it served is kept
       testbed.sh kill DAEMON       likewise, by kill -9
       testbed.sh start DAEMON      bring it back; up does, too
       testbed.sh down              stop all of it; files and caches stay
END
  exit 2
}

verb_up() {
  locked machine start_all
}

start_all() {
  prepare_all
  phase filesystem make_filesystem
  phase "slurm config" configure_slurm
  phase accounting start_accounting
  phase nodes start_nodes
  phase "python image" build_images python3.11
  publish_images
}

verb_images() {
  locked machine prepare_images
  phase "tensorflow images" build_images python3.11 tf2.11-py39 tf2.21-py311
  publish_images
}

verb_prepare() {
  locked machine prepare_all
}

prepare_all() {
  prepare_images
  phase seff install_seff
  phase users make_users
  phase modules make_modules
  phase python make_venv
}

prepare_images() {
  phase packages install_packages
  phase apptainer install_apptainer
}

verb_install() {
  phase "install hpcdl" locked install install_hpcdl "$1"
}

verb_start() {
  locked machine start_daemon "$1"
}

verb_stop() {
  locked machine stop "${1%.*}" "$1"
}

verb_kill() {
  locked machine kill_daemon "${1%.*}" "$1"
}

verb_down() {
  locked machine stop_all
}

stop_all() {
  phase nodes stop_nodes
  phase accounting stop_accounting
}

verb_status() {
  local name image hpcdl=without
  slurm_status
  for name in "${IMAGES[@]}"; do
    image=$SCRATCH/images/$name.sif
    [ -e "$image" ] || image="not built"
    echo "image $name: $image"
  done
  [ ! -x "$PREFIX/venv/bin/hpcdl" ] || hpcdl=with
  echo "login node's Python, $hpcdl hpcdl: $PREFIX/venv"
  echo "data: $SCRATCH/data, logs: $STATE/log, caches: $CACHE"
}

main "$@"
