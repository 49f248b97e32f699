# Apptainer on Debian 12, which has no package of it: Debian unstable's, run with unstable's C library.
# shellcheck shell=bash source-path=SCRIPTDIR

install_apptainer() {
  [ ! -e /dev/fuse ] || chmod 666 /dev/fuse # images are mounted by ordinary users
  mkdir -p "$PREFIX/singularity/bin"
  ln -sfn /usr/bin/apptainer "$PREFIX/singularity/bin/singularity" # off the PATH until `module load singularity`
  apptainer --version >/dev/null 2>&1 && return

  local debs=$CACHE/apptainer libs=$PREFIX/unstable deb program
  [ -e "$debs/complete" ] || download_apptainer "$debs"
  rm -rf "$libs"
  for deb in libc6 libseccomp2 libsqlite3-0; do
    dpkg -x "$debs/${deb}"_*.deb "$libs"
  done
  dpkg -x "$debs"/apptainer_*.deb /
  # The command last: it runs only when all is done, and that is what the test above looks at.
  for program in /usr/lib/x86_64-linux-gnu/apptainer/bin/starter /usr/bin/apptainer; do
    patchelf --force-rpath --set-rpath "$libs/usr/lib/x86_64-linux-gnu" \
      --set-interpreter "$libs/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$program"
  done
  apptainer --version >/dev/null
}

# Unstable's package lists are kept apart from the machine's own, so nothing else can be upgraded from there.
download_apptainer() {
  local folder=$1
  mkdir -p "$folder/lists/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) unstable main" \
    >"$folder/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$folder/lists" -o APT::Sandbox::User=root
    -o Acquire::Check-Valid-Until=false) # a mirror may be a snapshot
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" download apptainer libc6 libseccomp2 libsqlite3-0)
  rm -rf "$folder/lists" "$folder/sources.list"
  touch "$folder/complete"
}
