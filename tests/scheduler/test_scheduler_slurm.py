"""What is asked of SLURM, how often, and what follows from its answers: odd ones, of scripts in its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpcdl import cache
from hpcdl.cluster import load_cluster
from hpcdl.errors import SchedulerError, UserError
from hpcdl.files import write_json
from hpcdl.job import load_job
from hpcdl.launch.own_jobs import move_away
from hpcdl.planning import Plan
from hpcdl.preflight import Subject, check
from hpcdl.preflight.limits import partition
from hpcdl.preflight.trial import trial
from hpcdl.run import Run
from hpcdl.run.paths import RunPaths
from hpcdl.scheduler import job_answers, slurm
from hpcdl.scheduler.clusters import on_cluster
from hpcdl.scheduler.excluded_nodes import with_own_excluded
from hpcdl.submission import send as submission
from hpcdl.submission.prepare import prepare
from hpcdl.worker.executors import SlurmScriptExecutor

DOWN = (
    "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
)


class Site:
    """A machine whose SLURM commands say what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.asked = folder / "asked"

    def says(self, **commands: str) -> None:
        for name, lines in commands.items():
            path = self.bin / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.asked}\n{lines}\n')
            path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        return [line for line in self.asked.read_text().splitlines() if line.split()[0] == name]


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: (made.bin / name).exists() or None)
    return made


def a_minute_later():
    cache.store("slurm-jobs.json", {**cache.load("slurm-jobs.json"), "time": time.time() - 61})


def jobs(job_ids, min_poll_s, since=0.0):
    """What SLURM knows of jobs, as `hpcdl status` asks for it."""
    return job_answers.latest(job_ids, min_poll_s).about(job_ids, since)


def states(found):
    return {job_id: info.state for job_id, info in found.items()}


def test_one_answer_serves_a_minute(site):
    """Within a minute every job is answered from one call of squeue."""
    site.says(squeue="echo '7|PENDING|Priority||N/A'; echo '8|RUNNING|None|n1|N/A'", sacct="")

    assert states(jobs(["7"], 60)) == {"7": "PENDING"}
    assert states(jobs(["8"], 60)) == {"8": "RUNNING"}
    assert (len(site.calls("squeue")), len(site.calls("sacct"))) == (1, 0)


def test_outage_is_cached_for_a_minute(site):
    site.says(squeue=DOWN)

    for _ in range(3):
        with pytest.raises(SchedulerError, match="Unable to contact slurm controller"):
            jobs(["7"], 60)

    assert len(site.calls("squeue")) == 1


def test_known_states_survive_an_outage(site):
    site.says(squeue="echo '7|TIMEOUT|None|n1|N/A'; echo '8|RUNNING|None|n1|N/A'")
    jobs(["7", "8"], 60)
    a_minute_later()
    site.says(squeue=DOWN)

    assert states(jobs(["7", "8"], 60)) == {"7": "TIMEOUT", "8": "RUNNING"}
    assert len(site.calls("squeue")) == 2


def test_older_answers_do_not_count(site):
    """An answer from before the submission may be about an older job with that id."""
    site.says(squeue="echo '7|FAILED|None|n1|N/A'")

    assert jobs(["7"], 60, since=time.time() + 5) == {}


def test_one_call_covers_all_jobs(site):
    """The next call asks for the jobs of other commands, too."""
    site.says(squeue="", sacct="")
    for job_id in ("7", "8", "9"):
        assert jobs([job_id], 60) == {}
    a_minute_later()
    site.says(
        sacct="echo '7|TIMEOUT|n1'; echo '8|CANCELLED by 1000|None assigned'; echo '9|COMPLETED|n2'"
    )

    assert states(jobs(["9"], 60)) == {"9": "COMPLETED"}
    assert states(jobs(["7", "8"], 60)) == {"7": "TIMEOUT", "8": "CANCELLED"}
    assert [line.split("=")[-1] for line in site.calls("sacct")] == ["7", "7,8,9"]


@pytest.mark.parametrize("sacct", ["nothing", "not-here"])
def test_unlisted_job_becomes_unknown(site, sacct):
    """Accounting may be late, so a job is unknown only after ten minutes."""
    site.says(squeue="", **({"sacct": ""} if sacct == "nothing" else {}))
    assert jobs(["7"], 60) == {}  # accounting may be late
    old = cache.load("slurm-jobs.json")
    cache.store("slurm-jobs.json", {**old, "missing": {"7": time.time() - 601}, "time": 0})

    assert states(jobs(["7"], 60)) == {"7": "UNKNOWN"}


def test_accounting_outage_gives_no_state(site):
    site.says(squeue="", sacct="exit 1")

    assert jobs(["7"], 60) == {}
    assert cache.load("slurm-jobs.json")["missing"] == {}


@pytest.mark.cases("F8")
def test_answers_without_cache(site, tmp_path, monkeypatch, capsys):
    """Where answers cannot be kept, this process alone remembers them: SLURM is asked once."""
    site.says(squeue="echo '7|RUNNING|None|n1|N/A'")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")

    for _ in range(3):
        assert states(jobs(["7"], 60)) == {"7": "RUNNING"}

    assert len(site.calls("squeue")) == 1
    assert capsys.readouterr().err.count("going on without it") == 1


ODD_ANSWERS = {
    "another-form": {"jobs": {"7": {"nmae": "RUNNING"}}},
    "no-numbers": {"time": "now"},
    "lists": {"jobs": [], "missing": [], "wanted": {}},
    "from-the-future": {"time": 4e9},
    "half": {"time": 0},
}


@pytest.mark.cases("F8")
@pytest.mark.parametrize("kept", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_odd_answers_are_dropped(site, kept):
    """What another version, or a crash, left in the cache is asked for again."""
    site.says(squeue="echo '7|RUNNING|None|n1|N/A'")
    cache.store("slurm-jobs.json", kept)

    assert states(jobs(["7"], 60)) == {"7": "RUNNING"}


def test_user_without_a_name(site, monkeypatch):
    """A number that no user database knows is a user, too."""
    site.says(squeue="")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    monkeypatch.setattr("os.geteuid", lambda: 4711)

    assert slurm.working_directories() == []
    assert "--user=4711" in site.calls("squeue")[0]


def test_working_directory_that_is_not_utf8(site):
    site.says(squeue=r"printf '6|/runs/\351t\351\n'")

    assert slurm.working_directories() == [("6", "/runs/\udce9t\udce9")]


@pytest.mark.cases("C28")
def test_tickets_reach_sbatch(site, tmp_path, monkeypatch):
    """Where a ticket lies is passed on; what changes the request, or is itself a secret, is not."""
    site.says(sbatch=f"env >{tmp_path}/env; echo 7")
    monkeypatch.setenv("KRB5CCNAME", "FILE:/tmp/krb5cc_1000_x")
    monkeypatch.setenv("X509_USER_PROXY", "/home/me/x509up")
    monkeypatch.setenv("BEARER_TOKEN", "secret")
    monkeypatch.setenv("SBATCH_PARTITION", "other")

    assert slurm.sbatch(tmp_path / "script.sbatch") == "7"

    lines = (tmp_path / "env").read_text().splitlines()
    assert "KRB5CCNAME=FILE:/tmp/krb5cc_1000_x" in lines
    assert "X509_USER_PROXY=/home/me/x509up" in lines
    assert not [line for line in lines if line.startswith(("BEARER_TOKEN=", "SBATCH_"))]


SENT = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


def test_job_is_found_after_lost_answer(site, tmp_path):
    """When sbatch's answer is lost, the queue shows the job by its working directory."""
    run = tmp_path / "a b|c"
    queue = f"echo '5|/elsewhere'; echo '6|{run}'; echo '7|{run}'"
    site.says(sbatch=SENT, squeue=queue)

    assert slurm.sbatch(run / "script.sbatch", known=["6"]) == "7"
    with pytest.raises(SchedulerError, match="Socket timed out"):
        slurm.sbatch(run / "script.sbatch", known=["6", "7"])


def test_unreadable_sbatch_answer_is_looked_up(site, tmp_path):
    site.says(sbatch="echo hello", squeue=f"echo '6|{tmp_path}'")

    assert slurm.sbatch(tmp_path / "script.sbatch") == "6"


def test_unreachable_slurm_skips_queue(site, tmp_path):
    """When sbatch could not connect, no job was sent and squeue is not asked."""
    site.says(sbatch=DOWN, squeue="")

    with pytest.raises(SchedulerError, match="connect failure"):
        slurm.sbatch(tmp_path / "script.sbatch")
    assert not site.calls("squeue")


def test_refusal_keeps_slurm_message(site, tmp_path):
    site.says(sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1", squeue=DOWN)

    with pytest.raises(SchedulerError, match="Invalid account"):
        slurm.sbatch(tmp_path / "script.sbatch")


# Nodes to keep away from


@pytest.mark.parametrize(
    ("own", "avoid", "option"),
    [
        ("", ["n7"], "--exclude=n7"),
        ("n1", ["n7"], "--exclude=n1,n7"),
        ("n[1-3],m2", ["n7", "n8"], "--exclude=n[1-3],m2,n7,n8"),
        ("./bad.txt", ["n7"], "--exclude=n1,n[4-5],n7"),
        ("n1", [], None),
    ],
)
def test_excluded_nodes_of_user_stay(site, tmp_path, monkeypatch, own, avoid, option):
    """sbatch's command line overrides the script's option: both lists go into it."""
    site.says(srun="exit 0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_text("n1\nn[4-5]\n")
    write_json(
        tmp_path / "plan.json",
        {"directives": [["time", "1"], *([["exclude", own]] if own else [])]},
    )

    executor = SlurmScriptExecutor(tmp_path / "submitit", tmp_path / "job.sbatch", exclude=avoid)
    assert executor.options == ([option] if option else [])


@pytest.fixture
def send(site, tmp_path, monkeypatch):
    """Sends a script with some options of sbatch to a site: its run folder's paths, and its plan."""
    site.says(sbatch="echo 4711", srun="exit 0", scontrol="exit 0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").touch()

    def sent(options: str, requeue: bool) -> tuple[RunPaths, Plan]:
        (tmp_path / "a.yaml").write_text(f"name: a\nscript: t.py\nslurm: {options}\n")
        (tmp_path / "site.yaml").write_text(
            f"{CLUSTERS}requeue: {str(requeue).lower()}\nmax_requeues: 1\n"
        )
        prepared = prepare(load_job(tmp_path / "a.yaml"), load_cluster(tmp_path / "site.yaml"))
        return submission.submit(prepared).paths, prepared.plan

    return sent


@pytest.mark.parametrize("requeue", [True, False])
def test_failed_node_joins_excluded_nodes(site, send, requeue):
    """Where jobs are requeued another job is sent, else the next of the chain is told."""
    paths, plan = send("{exclude: 'n[1-2]'}", requeue)
    write_json(paths.submitted, {"job_id": "1", "job_ids": ["1", "2"]})

    assert move_away(paths, plan, "1", ["n9"])

    sent = [word for word in site.calls("sbatch")[-1].split() if word.startswith("--exclude=")]
    assert sent == (["--exclude=n[1-2],n9"] if requeue else [])
    if not requeue:
        assert site.calls("scontrol") == ["scontrol update JobId=2 ExcNodeList=n[1-2],n9"]


@pytest.mark.parametrize("requeue", [True, False])
def test_moved_job_is_not_held(site, send, requeue):
    """What the first job waited for is over when it moves; a chain's later jobs wait for the ones before them."""
    paths, plan = send("{hold: true, begin: now+1hour}", requeue)
    assert "#SBATCH --hold\n" in paths.script.read_text()
    released_when_sent = [] if requeue else ["scontrol release 4711"]
    assert site.calls("scontrol") == released_when_sent
    if not requeue:
        return

    write_json(paths.submitted, {"job_id": "1", "job_ids": ["1"]})
    assert move_away(paths, plan, "1", ["n9"])

    assert "--begin=now" in site.calls("sbatch")[-1].split()
    assert site.calls("scontrol") == ["scontrol release 4711"]


def test_unreadable_list_of_nodes(site, tmp_path):
    with pytest.raises(SchedulerError, match=r"slurm\.exclude names the file /nowhere/nodes"):
        with_own_excluded({"directives": [["exclude", "/nowhere/nodes"]]}, ["n7"])


# Several SLURM clusters behind one login node


CLUSTERS = """name: a
node: {cpus: 8, gpus: 1}
images: {tensorflow: tf.sif}
"""
HEADED = "echo 'CLUSTER: wice'; echo"


@pytest.fixture
def submit(site, tmp_path, monkeypatch):
    """Sends a job to a site whose commands answer for two clusters."""
    site.says(
        sbatch='echo "$(cat)" >/dev/null; echo "4711;wice"',
        squeue=f"{HEADED}; echo '4711|RUNNING|None|n1|N/A'",
        sacct="exit 0",
        scancel="exit 0",
        scontrol="exit 0",
        sacctmgr="exit 0",
        srun="exit 0",  # submitit looks for it
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").touch()
    (tmp_path / "a.yaml").write_text("name: a\nscript: t.py\n")

    def send(profile: str = "", sets: list[str] | None = None) -> Run:
        (tmp_path / "site.yaml").write_text(CLUSTERS + profile)
        job = load_job(tmp_path / "a.yaml")
        return submission.submit(prepare(job, load_cluster(tmp_path / "site.yaml", sets or [])))

    return send


@pytest.mark.cases("C25")
@pytest.mark.parametrize(
    ("profile", "shell"), [("clusters: wice\n", ""), ("", "wice"), ("clusters: wice\n", "other")]
)
def test_all_commands_carry_the_cluster(submit, site, monkeypatch, profile, shell):
    """From the profile, or else from SLURM_CLUSTERS in the user's shell."""
    monkeypatch.setenv("SLURM_CLUSTERS", shell)
    run = submit(profile)
    monkeypatch.delenv("SLURM_CLUSTERS")

    assert run.job_ids() == ["4711"]
    assert "#SBATCH --clusters=wice" in run.paths.script.read_text()
    assert run.status().state == "queued"
    run.cancel()
    for name in ("sbatch", "squeue", "scancel"):
        assert [line.split()[1:3] for line in site.calls(name)] == [["-M", "wice"]]


@pytest.mark.cases("C25")
def test_commands_of_a_cluster(site):
    """Its answers come with a heading, are kept apart from another's, and its own jobs ask without -M."""
    site.says(squeue=f"{HEADED}; echo '7|RUNNING|None|n1|N/A'", sacct="exit 0", scontrol="exit 0")
    with on_cluster("wice"):
        assert states(jobs(["7"], 60)) == {"7": "RUNNING"}
        slurm.past_states("7")
        slurm.exclude("7", "n1")
    site.says(squeue="echo '7|PENDING|None||N/A'")
    assert states(jobs(["7"], 60)) == {"7": "PENDING"}

    assert [line.split()[1:3] for line in site.calls("sacct") + site.calls("scontrol")] == [
        ["-M", "wice"]
    ] * 2
    assert "-M" not in site.calls("squeue")[-1].split()


@pytest.mark.cases("C25")
def test_job_asks_its_own_cluster(site, monkeypatch):
    site.says(squeue="echo RUNNING 2030-01-01T00:00:00")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "wice")

    with on_cluster("wice"):
        assert slurm.end_time("7") is not None
    assert "-M" not in site.calls("squeue")[0].split()


@pytest.mark.cases("C25")
def test_check_asks_the_cluster(submit, site, tmp_path):
    run = submit("clusters: wice\n")
    cluster = load_cluster(tmp_path / "site.yaml")
    prepared = prepare(load_job(tmp_path / "a.yaml"), cluster)

    check(Subject(prepared, cluster), [("partition", partition), ("sbatch", trial)])

    assert run.slurm_cluster() == "wice"
    assert {tuple(line.split()[1:3]) for line in site.calls("scontrol")} == {("-M", "wice")}
    assert site.calls("sbatch")[-1].split()[1:] == ["-M", "wice", "--test-only"]


@pytest.mark.cases("C25")
@pytest.mark.parametrize(
    "profile", ["clusters: 'wice,genius'\n", "clusters: all\n", "clusters: a b\n"]
)
def test_several_clusters_in_profile_refused(submit, profile):
    with pytest.raises(UserError, match="clusters: expected one"):
        submit(profile)


@pytest.mark.cases("C25")
def test_shell_with_several_clusters(submit, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "wice,genius")

    with pytest.raises(UserError, match=r"say --set cluster\.clusters=NAME"):
        submit()
    assert submit(sets=["cluster.clusters=genius"]).slurm_cluster() == "genius"


@pytest.mark.cases("C25")
def test_cluster_of_shell_is_mentioned(submit, tmp_path, monkeypatch):
    submit()
    monkeypatch.setenv("SLURM_CLUSTERS", "wice")
    job, cluster = load_job(tmp_path / "a.yaml"), load_cluster(tmp_path / "site.yaml")

    assert (
        "goes to the SLURM cluster wice: this shell's SLURM_CLUSTERS"
        in prepare(job, cluster).notes[-1]
    )


@pytest.mark.cases("C25")
def test_clusters_option_names_the_key(tmp_path):
    (tmp_path / "t.py").touch()
    (tmp_path / "a.yaml").write_text("name: a\nscript: t.py\nslurm: {clusters: wice}\n")

    with pytest.raises(UserError, match=r"slurm\.clusters: .*cluster: \{clusters: NAME\}"):
        load_job(tmp_path / "a.yaml")


@pytest.mark.cases("fault 8")
@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("RUNNING 2030-01-01T00:10:00", True),
        ("COMPLETING 2030-01-01T00:00:01", False),
        ("RUNNING N/A", False),
    ],
)
def test_end_time_needs_running_job(site, answer, known):
    """Of a job that was just cancelled squeue gives the time of that: no time limit to save before."""
    site.says(squeue=f"echo '{answer}'")
    assert (slurm.end_time("7") is not None) == known
