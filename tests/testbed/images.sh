# The images jobs run in: a Debian with its Python, some with TensorFlow, built once for each recipe and then cached.
# shellcheck shell=bash source-path=SCRIPTDIR

readonly IMAGES=(python3.11 tf2.11-py39 tf2.21-py311)

# Debian release and Python packages of an image, each with its version: what is released today changes no image.
recipe() {
  case $1 in
    python3.11) echo bookworm ;;
    tf2.11-py39) echo bullseye "$(packages_of "$1")" ;; # Keras 2, close to NVIDIA's 23.03
    tf2.21-py311) echo bookworm "$(packages_of "$1")" ;; # Keras 3
    *) die "no recipe for an image named '$1'" ;;
  esac
}

packages_of() {
  grep -v '^#' "$HERE/etc/$1.txt" | tr '\n' ' '
}

# image_file NAME: its file in the cache. The name changes with anything that could change what is in it.
image_file() {
  local hash
  hash=$({
    recipe "$1"
    declare -f make_rootfs pip_install make_sif
  } | sha256sum)
  echo "$CACHE/images/$1-${hash:0:12}.sif"
}

# build_images NAME...: those that the cache lacks.
build_images() {
  local name missing=()
  for name in "$@"; do
    [ -s "$(image_file "$name")" ] || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] || locked images build_missing "${missing[@]}"
}

# build_missing NAME...: side by side.
build_missing() {
  local name pid builders=()
  rm -rf "$CACHE/build" # of a build that was killed
  mkdir -p "$CACHE/images" "$CACHE/build" "$STATE/log"
  for name in "$@"; do
    [ ! -s "$(image_file "$name")" ] || continue # somebody else's build, which we waited for
    echo "testbed: building image $name"
    build_image "$name" >"$STATE/log/image-$name.log" 2>&1 &
    builders+=("$!:$name")
  done
  for pid in "${builders[@]}"; do
    wait "${pid%%:*}" || die "image ${pid#*:} was not built; see $STATE/log/image-${pid#*:}.log"
  done
}

build_image() {
  local name=$1 work=$CACHE/build/$1 file packages suite
  file=$(image_file "$name")
  read -r suite packages <<<"$(recipe "$name")"
  mkdir -p "$work/tmp"
  export APPTAINER_TMPDIR=$work/tmp APPTAINER_CACHEDIR=$work/tmp
  make_rootfs "$suite" "$work"
  # shellcheck disable=SC2086 # a list of words
  [ -z "$packages" ] || pip_install "$work/rootfs" $packages
  make_sif "$work"
  rm -f "$CACHE/images/$name"-????????????.sif # older recipes' images
  mv "$work/image.sif" "$file"
  rm -rf "$work"
}

# A Debian with Python, as users' images have it: `python` works, and packages with C++ in them load.
make_rootfs() {
  local suite=$1 work=$2
  mmdebstrap --mode=root --variant=essential --include=python3,python3-pip,ca-certificates,libstdc++6 \
    "$suite" "$work/debian" "$(debian_mirror)"
  ln -s python3 "$work/debian/usr/bin/python"
  apptainer build --sandbox "$work/rootfs" "$work/debian" # adds what `apptainer exec` and `run` look for
}

# pip_install ROOTFS PACKAGE...: with this machine's way to the network, none of which stays in the image.
pip_install() {
  # shellcheck disable=SC2016 # the script's own variables
  unshare --mount bash -euc '
    rootfs=$1
    shift
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
      [ -e "$file" ] || continue
      [ -e "$rootfs$file" ] || : >"$rootfs$file"
      mount --bind "$file" "$rootfs$file"
    done
    mount -t tmpfs tmpfs "$rootfs/tmp"
    HOME=/root PIP_BREAK_SYSTEM_PACKAGES=1 exec chroot "$rootfs" python3 -m pip install --no-cache-dir "$@"
  ' - "$@"
}

# zstd at level 3: the smallest of gzip, lz4 and zstd, the quickest to write, and Python imports from it as from lz4.
make_sif() {
  local work=$1
  mksquashfs "$work/rootfs" "$work/squashfs" -comp zstd -Xcompression-level 3 -noappend -quiet -no-progress
  apptainer sif new "$work/image.sif"
  # One primary (parttype 2) squashfs (partfs 1) system partition (datatype 4) for amd64 (partarch 2).
  apptainer sif add --datatype 4 --partfs 1 --parttype 2 --partarch 2 --groupid 1 "$work/image.sif" "$work/squashfs"
  chmod 755 "$work/image.sif"
}

# Puts the images that are built on the shared filesystem. Hard links where they can be: the cache may lie where
# ordinary users cannot go.
publish_images() {
  local name cached shared
  [ -d "$SCRATCH/images" ] || return 0 # `up` makes it
  for name in "${IMAGES[@]}"; do
    cached=$(image_file "$name")
    shared=$SCRATCH/images/$name.sif
    [ -e "$cached" ] || continue
    [ "$(stat -c '%s %Y' "$cached")" != "$(stat -c '%s %Y' "$shared" 2>/dev/null || true)" ] || continue
    ln -f "$cached" "$shared.new" 2>/dev/null || cp --preserve=mode,timestamps "$cached" "$shared.new"
    mv "$shared.new" "$shared"
  done
}
