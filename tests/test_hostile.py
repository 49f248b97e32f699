"""Hostile values in job files and profiles: refused by the key that holds them, or in the program byte by byte."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcdl.cluster import Cluster, load_cluster
from hpcdl.errors import ClusterError, JobError, UserError
from hpcdl.job import Job, Resources, load_job
from hpcdl.launch.command import argv_of, places_of, program_of
from hpcdl.planning import plan
from hpcdl.script import render
from hpcdl.submission.create import create, new_run
from tests.hostile import BREAKS, DEEDS, LINES, LONG, MARKS, TEXT

words = st.lists(st.sampled_from(TEXT + BREAKS + MARKS + DEEDS + LINES), max_size=5).map("".join)
surprise = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
hostile = words | surprise | st.sampled_from([*LONG, "\0", "a\0b"])
name = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True) | hostile
file_name = words.map(lambda text: text.replace("/", "").replace("\0", "")[:40] or "x")

# Stand-ins: `apptainer` becomes what it is to run, as the real one does; `python` writes down its argv and environment.
APPTAINER = """#!/bin/bash
[ "$1" = exec ] || exit 9
shift
while :; do
  case $1 in
    --bind | --pwd) shift 2 ;;
    --*) shift ;;
    *) break ;;
  esac
done
printf %s "$1" >"$SEEN.image"
shift
exec "$@"
"""
PYTHON = '#!/bin/sh\ncat /proc/$$/cmdline >"$SEEN"\ncat /proc/$$/environ >"$SEEN.env"\n'


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bin")
    for program, text in (("apptainer", APPTAINER), ("python", PYTHON)):
        (folder / program).write_text(text)
        (folder / program).chmod(0o755)
    return folder


def environment(stand_ins: Path, seen: Path) -> dict[str, str]:
    return {
        "PATH": f"{stand_ins}:{os.environ['PATH']}",
        "SEEN": str(seen),
        "SLURM_JOB_ID": "7",
        "LC_ALL": "C.UTF-8",
    }


def load(
    document: dict[str, Any], folder: Path, profile: dict[str, Any]
) -> tuple[Job, Cluster] | None:
    """Read a job and a profile of these values; None where they are refused, each by the key that holds it."""
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    (folder / "site.yaml").write_text(yaml.safe_dump(profile))
    try:
        return load_job(folder / "job.yaml"), load_cluster(folder / "site.yaml")
    except (JobError, ClusterError) as error:
        given_keys = {*document, *profile}
        for problem in error.problems:
            assert problem.key.split(".")[0].split("[")[0] in given_keys, problem
            assert str(problem).isprintable(), problem
        return None


@given(
    args=st.lists(hostile, max_size=4),
    env=st.dictionaries(name, hostile, max_size=3),
    script=file_name,
    image=file_name,
    options=st.dictionaries(
        st.sampled_from(["comment", "constraint", "mail-user"]), hostile, max_size=2
    ),
    profile=st.dictionaries(
        st.sampled_from(["account", "partition", "qos", "gpu_type", "runtime"]), hostile, max_size=1
    ),
    modules=st.lists(hostile, max_size=1),
    binds=st.lists(hostile, max_size=2),
    data_root=words,
)
def test_values_arrive_or_are_refused(
    stand_ins, args, env, script, image, options, profile, modules, binds, data_root
):
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        Path(folder, f"{script}.py").write_text("pass\n")
        document = {
            "name": "a", "script": f"./{script}.py", "args": args, "env": env, "slurm": options,
            "resources": {"gpus": 0}, "container": f"./{image}.sif",
        }  # fmt: skip
        site = {
            "name": "site",
            "runtime": "apptainer",
            "modules": modules,
            "binds": binds,
            **profile,
        }
        site |= {"data_root": f"/d/{data_root}", "node": {"cpus": 4}}
        loaded = load(document, folder, site)
        if loaded is None:
            return
        job, cluster = loaded
        try:
            decided = plan(job, cluster)
        except JobError as error:
            assert all(problem.key for problem in error.problems)
            return
        by_script, by_launch = folder / "seen-script", folder / "seen-launch"

        text = f"module() {{ :; }}\nscontrol() {{ :; }}\n{render(decided)}"
        subprocess.run(
            ["bash", "-c", text], cwd=folder, env=environment(stand_ins, by_script), check=True
        )
        paths = new_run("a", folder / "runs")
        create(paths, job, decided, None, [])
        argv, _ = argv_of(decided, places_of(paths, decided, "1"), program_of(paths, decided))
        subprocess.run(argv, cwd=paths.work, env=environment(stand_ins, by_launch), check=True)

        if decided.require_container().runtime != "apptainer":
            return
        for seen in (by_script, by_launch):
            assert seen.read_bytes().decode().split("\0")[3:-1] == args
            pairs = dict(
                p.split("=", 1)
                for p in Path(f"{seen}.env").read_bytes().decode().split("\0")
                if "=" in p
            )
            assert {key: pairs.get(key) for key in env} == env
            assert Path(f"{seen}.image").read_text() == f"{folder}/{image}.sif"
        assert not list(folder.rglob("pwned"))


FIELDS = [
    "name", "script", "container", "workdir", "args", "env", "files", "stop_signal", "slurm", "resources", "data",
    "model", "train", "cluster",
]  # fmt: skip
value = st.recursive(
    hostile | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(hostile, inner, max_size=2),
    max_leaves=4,
)


@given(document=st.dictionaries(st.sampled_from(FIELDS) | hostile, value, max_size=4))
def test_any_job_is_read_or_refused(document):
    with tempfile.TemporaryDirectory() as base:
        path = Path(base, "job.yaml")
        path.write_text(yaml.safe_dump(document))
        try:
            load_job(path)
        except UserError as error:
            assert str(error).replace("\n", "").isprintable()


@given(
    document=st.dictionaries(
        st.sampled_from([*Cluster.__dataclass_fields__]) | hostile, value, max_size=4
    )
)
def test_any_profile_is_read_or_refused(document):
    with tempfile.TemporaryDirectory() as base:
        path = Path(base, "site.yaml")
        path.write_text(yaml.safe_dump({"name": "a", **document}))
        try:
            load_cluster(path)
        except UserError as error:
            assert str(error).replace("\n", "").isprintable()


@given(text=words | surprise | st.sampled_from(LONG))
def test_any_text_gives_no_traceback(text):
    """As a job file, and as one value on the command line."""
    with tempfile.TemporaryDirectory() as base:
        path = Path(base, "job.yaml")
        path.write_text(text, newline="")
        for sets in ([], [text], [f"name={text}"], [f"args=[{text}]"], [f"env.{text}=1"]):
            with pytest.raises(UserError):
                load_job(path, sets)


@settings(max_examples=30)  # each makes a run folder
@given(args=st.lists(words, max_size=3))
def test_run_folder_keeps_exact_words(args):
    """What is kept as JSON and YAML in the run folder reads back as it was."""
    with tempfile.TemporaryDirectory() as base:
        Path(base, "a.py").write_text("pass\n")
        job = Job(
            name="a", script=f"{base}/a.py", args=args, folder=base, resources=Resources(gpus=0)
        )
        paths = new_run("a", Path(base, "runs"))
        create(paths, job, plan(job, Cluster(name="site")), None, args)
        assert json.loads(paths.plan.read_text())["program"]["args"] == args
        assert json.loads(paths.manifest.read_text())["command_line"] == args
        assert yaml.safe_load(paths.job.read_text()).get("args", []) == args


@pytest.mark.parametrize("text", ["./~.py", "~nobody-here.py", "~/../~.py"])
def test_unknown_tilde_user_is_a_name(tmp_path, text):
    (tmp_path / "job.yaml").write_text(f"name: a\nscript: {text}\n")

    with pytest.raises(JobError, match="there is no file"):
        load_job(tmp_path / "job.yaml")
