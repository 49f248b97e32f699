# SLURM with four virtual nodes on this machine, its accounting database included.
# shellcheck shell=bash source-path=SCRIPTDIR disable=SC2153 # STATE is testbed.sh's

readonly NODES=(n1 n2 n3 n4)
readonly RUN=$STATE/run # the pid files
readonly DB_PORT=17006

# running NAME PIDFILE: whether that daemon is alive. After a reboot the number may be another program's; and a zombie,
# which has its name still but no executable, is not alive.
running() {
  local pid
  pid=$(cat "$RUN/$2.pid" 2>/dev/null || true)
  [ -e "/proc/${pid:-none}/exe" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null || true)" = "$1" ]
}

# stop NAME PIDFILE: asks it to end, and insists after 10 s.
stop() {
  local pid tries=100
  running "$1" "$2" || return 0
  pid=$(<"$RUN/$2.pid")
  kill "$pid"
  while running "$1" "$2"; do
    sleep 0.1
    [ $((tries--)) -gt 0 ] || kill -KILL "$pid" 2>/dev/null || true
  done
}

# kill_daemon NAME PIDFILE: ends it at once; true when it is gone.
kill_daemon() {
  running "$1" "$2" || return 0
  kill -KILL "$(<"$RUN/$2.pid")"
  while running "$1" "$2"; do sleep 0.02; done
}

# The daemons that tests take away and bring back, by their pid files.
is_daemon() {
  [[ $1 =~ ^(slurmctld|slurmdbd|slurmd\.n[1-4])$ ]]
}

start_daemon() {
  running "${1%.*}" "$1" && return
  case $1 in
    slurmd.*) slurmd -N "${1#*.}" ;;
    *) "$1" ;;
  esac
}

# What ends a job's processes: its cgroup, as on a cluster, where the kernel's first cgroups are mounted.
# shellcheck disable=SC2034 # fill has them
choose_proctrack() {
  local version
  version=$(slurmd -V) # slurm-wlm 22.05.8
  version=${version##* }
  PROCTRACK=linuxproc
  CGROUP_PLUGIN=autodetect
  # Older ones refuse the word, newer ones a missing cgroup.
  [ "${version%%.*}" -lt 23 ] || CGROUP_PLUGIN=disabled
  ! mountpoint -q /sys/fs/cgroup/freezer || {
    PROCTRACK=cgroup
    CGROUP_PLUGIN=cgroup/v1
  }
}

configure_slurm() {
  local gpu changed=""
  choose_proctrack
  mkdir -p "$RUN" "$STATE"/{log,slurmctld,munge,mysql}
  for gpu in /dev/fakegpu{0..3}; do
    [ -e "$gpu" ] || mknod "$gpu" c 1 3 # as /dev/null
    chmod 666 "$gpu"
  done
  if fill slurm.conf.in /etc/slurm/slurm.conf; then changed=yes; fi
  if fill cgroup.conf.in /etc/slurm/cgroup.conf; then changed=yes; fi
  if fill gres.conf.in /etc/slurm/gres.conf; then changed=yes; fi
  if fill task_prolog.sh /etc/slurm/task_prolog.sh; then chmod 755 /etc/slurm/task_prolog.sh; fi
  if fill job_bash_env.sh /etc/slurm/job_bash_env.sh; then :; fi
  (umask 077 && fill slurmdbd.conf.in /etc/slurm/slurmdbd.conf) || true
  [ -z "$changed" ] || stop_daemons # they read it when they start
}

start_accounting() {
  start_munge
  start_database
  start_daemon slurmdbd
  wait_for 30 "an answer of slurmdbd" sacctmgr -n show cluster
  set_accounts
}

# Accounts are as the file says again after each `up`, so that what a test changed does not outlive it. Asking is
# quicker than telling: a sacctmgr command takes 0.3 s.
set_accounts() {
  local seen=$STATE/accounts.seen
  accounts | cmp -s - "$seen" && return
  sacctmgr -i <"$HERE/etc/accounts.sacctmgr" >"$STATE/log/accounts.log" 2>&1 || true # some are there already
  ! grep -i error "$STATE/log/accounts.log" >&2 || die "sacctmgr did not accept etc/accounts.sacctmgr"
  accounts >"$seen"
}

accounts() {
  cat "$HERE/etc/accounts.sacctmgr"
  sacctmgr -nP show qos
  sacctmgr -nP show assoc
}

start_munge() {
  running munged munged && return
  local folder=$STATE/munge
  if [ ! -s "$folder/key" ]; then
    (umask 077 && head -c 1024 /dev/urandom >"$folder/key.new")
    mv "$folder/key.new" "$folder/key"
  fi
  chown -R munge: "$folder"
  chmod 755 "$folder"
  runuser -u munge -- munged --force --key-file="$folder/key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --seed-file="$folder/seed" --log-file="$folder/munged.log"
  ln -sf "$folder/munged.pid" "$RUN/munged.pid"
}

start_database() {
  running mariadbd mariadbd && return
  local folder=$STATE/mysql
  local options=(--no-defaults --user=slurm --datadir="$folder")
  chown slurm: "$folder"
  if [ ! -e "$folder/complete" ]; then
    find "$folder" -mindepth 1 -delete # of an attempt that was killed
    mariadb-install-db "${options[@]}" --skip-test-db >"$STATE/log/mariadb-install.log" 2>&1
    touch "$folder/complete"
  fi
  install -m 644 "$HERE/etc/mariadb-init.sql" "$STATE/mariadb-init.sql"
  # Nobody mourns the last second's accounts after a crash, so it need not wait for the disk.
  setsid mariadbd "${options[@]}" --init-file="$STATE/mariadb-init.sql" --pid-file="$folder/mariadbd.pid" \
    --socket="$folder/socket" --bind-address=127.0.0.1 --port="$DB_PORT" --skip-name-resolve \
    --innodb-flush-log-at-trx-commit=0 </dev/null >>"$STATE/log/mariadbd.log" 2>&1 &
  ln -sf "$folder/mariadbd.pid" "$RUN/mariadbd.pid"
  wait_for 30 "an answer of MariaDB" bash -c "</dev/tcp/127.0.0.1/$DB_PORT"
}

start_nodes() {
  local node
  start_daemon slurmctld
  for node in "${NODES[@]}"; do
    start_daemon "slurmd.$node"
  done
  wait_for 30 "an answer of slurmctld" scontrol ping
  wait_for 30 "four nodes ready for jobs" nodes_ready
}

# A node that SLURM took out of service (after a crash, say) is put back.
nodes_ready() {
  local bad
  bad=$(sinfo -h -N -t down,drain,drained,draining,fail -o %N | sort -u | paste -sd,)
  [ -z "$bad" ] || scontrol update "nodename=$bad" state=resume
  [ "$(sinfo -h -N -t idle,mix,alloc,comp -o %N | sort -u | wc -l)" = ${#NODES[@]} ]
}

stop_nodes() {
  if running slurmctld slurmctld; then
    timeout 10 scancel --user=hpcuser || true # none of them comes back with the next `up`
    timeout 10 scancel --user=hpcuser --full --signal=KILL --state=running || true
  fi
  stop_daemons
  kill_leftovers
}

stop_daemons() {
  local node
  for node in "${NODES[@]}"; do
    stop slurmd "slurmd.$node"
  done
  stop slurmctld slurmctld
}

# The processes of jobs whose slurmd is gone: SLURM's own, and hpcuser's with a job id in their environment.
kill_leftovers() {
  local process pid
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    if [ "$(cat "$process/comm" 2>/dev/null || true)" = slurmstepd ] ||
      { [ "$(stat -c %U "$process" 2>/dev/null || true)" = hpcuser ] &&
        grep -qz '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null; }; then
      kill -KILL "$pid" 2>/dev/null || true
    fi
  done
}

stop_accounting() {
  stop slurmdbd slurmdbd
  stop mariadbd mariadbd
  stop munged munged
}

slurm_status() {
  local daemon state
  for daemon in munged:munged mariadbd:mariadbd slurmdbd:slurmdbd slurmctld:slurmctld "${NODES[@]/#/slurmd:slurmd.}"; do
    state=stopped
    if running "${daemon%:*}" "${daemon#*:}"; then state=runs; fi
    echo "${daemon#*:}: $state"
  done
  if running slurmctld slurmctld; then
    sinfo
    squeue
  fi
}
