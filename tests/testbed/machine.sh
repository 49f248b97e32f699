# What a cluster's login node offers besides SLURM and Apptainer: packages, users, `module`, shared folders, a Python.
# shellcheck shell=bash source-path=SCRIPTDIR

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly CHECKOUT=${HERE%/tests/testbed}
readonly CACHE=${HPCDL_TESTBED_CACHE:-/var/cache/hpcdl-testbed}
readonly DATA=${HPCDL_TEST_DATA:-$CHECKOUT/../shared/data}
readonly STATE=/var/lib/hpcdl-testbed
readonly PREFIX=/opt/hpcdl-testbed
readonly SCRATCH=/gpfs/scratch/nct00
readonly MARK="hpcdl-testbed: " # a slurm.conf without it is not ours to touch
readonly SECOND_BED=/etc/hpcdl-second-bed # tells the second bed's root from a machine

die() {
  echo "testbed: $*" >&2
  exit 3 # told already, say the callers' traps
}

# phase NAME COMMAND...: runs it and says how long it took.
phase() {
  local name=$1 start=${EPOCHREALTIME/./}
  shift
  "$@"
  printf 'testbed: %-18s %6.1f s\n' "$name" "$(((${EPOCHREALTIME/./} - start) / 100000))e-1"
}

# locked NAME COMMAND...: one at a time on this machine. What COMMAND starts does not inherit the lock.
locked() {
  local lock=$STATE/$1.lock
  shift
  (
    flock 9
    "$@" 9>&-
  ) 9>"$lock"
}

# wait_for SECONDS WHAT COMMAND...: tries COMMAND until it succeeds.
wait_for() {
  local what=$2 end=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "$what did not happen; see $STATE/log"
    sleep 0.1
  done
}

# fill TEMPLATE TARGET: fills in the template's @WORDS@; true if TARGET changed.
fill() {
  local new
  new=$(sed -e "s|@HOST@|$(uname -n)|g" \
    -e "s|@STATE@|$STATE|g" -e "s|@PREFIX@|$PREFIX|g" -e "s|@DB_PORT@|$DB_PORT|g" \
    -e "s|@PROCTRACK@|${PROCTRACK:-}|g" -e "s|@CGROUP_PLUGIN@|${CGROUP_PLUGIN:-}|g" "$HERE/etc/$1")
  [ ! -e "$2" ] || [ "$new" != "$(cat "$2")" ] || return 1
  printf '%s\n' "$new" >"$2.new"
  mv "$2.new" "$2"
}

check_machine() {
  [ "$(id -u)" = 0 ] || die "needs root: it installs packages and starts SLURM's daemons"
  # shellcheck source=/dev/null
  (. /etc/os-release 2>/dev/null && [ "$ID" = debian ] && [ "${VERSION_ID:-99}" -ge 12 ]) ||
    die "needs Debian 12 (bookworm) or newer"
  [ ! -e /etc/slurm/slurm.conf ] || grep -q "$MARK" /etc/slurm/slurm.conf ||
    die "/etc/slurm/slurm.conf is not from this test bed: this machine has a SLURM of its own, left alone"
  [ ! -e /gpfs ] || [ -e "/gpfs/.hpcdl-testbed" ] ||
    die "/gpfs is not from this test bed: this machine has a shared filesystem of its own, left alone"
}

# The mirror that this machine's own apt uses for its Debian.
debian_mirror() {
  # shellcheck disable=SC2016 # apt's variables
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$(. /etc/os-release && echo "$VERSION_CODENAME")" \
      '$1 == release && $2 == "main" { print $3; exit }'
}

# Each package of a cluster, and a file that tells that it is there.
readonly PACKAGES=(
  slurmctld:/usr/sbin/slurmctld slurmd:/usr/sbin/slurmd slurmdbd:/usr/sbin/slurmdbd slurm-client:/usr/bin/sbatch
  munge:/usr/sbin/munged mariadb-server-core:/usr/sbin/mariadbd mariadb-client-core:/usr/bin/my_print_defaults
  environment-modules:/usr/share/modules/init/bash
  python3-venv:/var/lib/dpkg/info/python3-venv.list patchelf:/usr/bin/patchelf
  squashfs-tools:/usr/bin/mksquashfs squashfuse:/usr/bin/squashfuse_ll fuse2fs:/usr/bin/fuse2fs
  fuse-overlayfs:/usr/bin/fuse-overlayfs uidmap:/usr/bin/newuidmap
)
# What the second bed's root can do without: it comes with its images, and tests/report opens pages elsewhere.
readonly TOOLS=(
  libslurm-perl:/usr/share/doc/libslurm-perl libslurmdb-perl:/usr/share/doc/libslurmdb-perl # of seff
  mmdebstrap:/usr/bin/mmdebstrap zstd:/usr/bin/zstd shellcheck:/usr/bin/shellcheck busybox-static:/bin/busybox chromium:/usr/bin/chromium
  openssh-server:/usr/sbin/sshd openssh-client:/usr/bin/ssh # a test starts its own
)

install_packages() {
  local package needed=("${PACKAGES[@]}") missing=()
  [ -e "$SECOND_BED" ] || needed+=("${TOOLS[@]}")
  for package in "${needed[@]}"; do
    [ -e "${package#*:}" ] || missing+=("${package%%:*}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  mkdir -p "$CACHE/debs/partial" "$STATE/log"
  apt-get update -qq >"$STATE/log/packages.log" 2>&1 || die "apt-get update failed; see $STATE/log/packages.log"
  # In runlevel 1 Debian's scripts start no daemon: this machine's sshd would let everybody knock.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends \
    -o Dir::Cache::Archives="$CACHE/debs" -o APT::Keep-Downloaded-Packages=true -o APT::Sandbox::User=root \
    "${missing[@]}" >>"$STATE/log/packages.log" 2>&1 || die "apt-get install failed; see $STATE/log/packages.log"
  # Debian's own units would start a second set of the daemons.
  [ ! -d /run/systemd/system ] || systemctl -q disable --now slurmctld slurmd slurmdbd munge
  [[ " ${missing[*]} " != *" openssh-server "* || ! -d /run/systemd/system ]] || systemctl -q disable --now ssh
}

make_users() {
  id hpcuser >/dev/null 2>&1 || useradd -m -s /bin/bash hpcuser # submits everything
  id hpcdata >/dev/null 2>&1 || useradd -M -s /usr/sbin/nologin hpcdata # owns the data that all read
}

make_modules() {
  fill singularity.modulefile.in /etc/environment-modules/modules/singularity || true
}

# The group's part of a shared filesystem: read-only data and images, and a folder of hpcuser's own.
make_filesystem() {
  mkdir -p /gpfs
  touch /gpfs/.hpcdl-testbed
  mkdir -p "$SCRATCH"/{images,data/fashion-mnist,data/models}
  install -d -o hpcuser -g hpcuser "$SCRATCH/hpcuser"
  ln -sfn data/mnist.npz "$SCRATCH/mnist.npz"
  ln -sfn images/tf2.11-py39.sif "$SCRATCH/MN5-NGC-TensorFlow-23.03.sif"
  if [ -d "$DATA" ]; then
    local file
    stage mnist.npz mnist.npz
    for file in "$DATA"/fashion-mnist/*.gz; do
      stage "fashion-mnist/${file##*/}" "fashion-mnist/${file##*/}"
    done
    # Under the name Keras downloads it by.
    stage weights/mobilenet_v2_imagenet_1.0_224_no_top_bnfolded.h5 \
      models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5
  else
    echo "testbed: no test data in $DATA (HPCDL_TEST_DATA names another folder); going on without"
  fi
  find "$SCRATCH/data" -type d -exec chown hpcdata: {} + -exec chmod 555 {} +
}

# stage SOURCE TARGET: copies a file of the test data unless it is there already.
stage() {
  local target=$SCRATCH/data/$2
  cmp -s "$DATA/$1" "$target" || {
    install -o hpcdata -g hpcdata -m 444 "$DATA/$1" "$target.new"
    mv -f "$target.new" "$target"
  }
}

# The login node's Python, with what hpcdl needs but without hpcdl: `install` adds that.
make_venv() {
  local venv=$PREFIX/venv wanted=$HERE/etc/venv-requirements.txt
  cmp -s "$wanted" "$venv/requirements.txt" && return
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --cache-dir "$CACHE/pip" -r "$wanted" >"$STATE/log/venv.log" 2>&1 ||
    die "pip install failed; see $STATE/log/venv.log"
  cp "$wanted" "$venv/requirements.txt" # last: it tells that the rest is there
}

# install_hpcdl CHECKOUT
install_hpcdl() {
  local python=$PREFIX/venv/bin/python wheel work
  [ -x "$python" ] || die "the login node has no Python yet: run '$0 up' first"
  work=$(mktemp -d)
  "$python" -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$work" "$1" || die "no wheel of $1"
  wheel=("$work"/*.whl)
  "$python" -m pip install -q --no-deps --force-reinstall "${wheel[@]}"
  rm -r "$work"
}
