# seff, which shows how well a job used what it asked for: from the source of this very SLURM, as no package has it.
# shellcheck shell=bash source-path=SCRIPTDIR

readonly SEFF=$PREFIX/bin/seff

# Its Perl modules are a package (machine.sh).
install_seff() {
  [ ! -e "$SECOND_BED" ] || return 0 # compared with on the first bed only
  [ -e "$CACHE/seff" ] || download_seff "$CACHE/seff-source"
  cmp -s "$CACHE/seff" "$SEFF" || install -D -m 755 "$CACHE/seff" "$SEFF"
}

# The package's source, from lists kept apart from the machine's own.
download_seff() {
  local folder=$1 release
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mkdir -p "$folder/lists/partial"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $release main" \
    >"$folder/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$folder/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" source --download-only --tar-only slurm-wlm)
  tar -xf "$folder"/slurm-wlm_*.orig.tar.* -C "$folder" --wildcards --strip-components=3 '*/contribs/seff/seff'
  mv "$folder/seff" "$CACHE/seff"
  rm -rf "$folder"
}
