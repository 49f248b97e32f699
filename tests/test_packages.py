"""Requirements as they are read, where an overlay lies, what pip is told, and what jobs see of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcdl import packages
from hpcdl.cluster import load_cluster
from hpcdl.container import PACKAGES, Bash, Places, Word, environment
from hpcdl.container import argv as argv_of
from hpcdl.errors import JobError, UserError
from hpcdl.in_image.install import gather
from hpcdl.job import load_job
from hpcdl.job.requirements import read_requirements
from hpcdl.packages.pipconfig import local_paths, pip_environment
from hpcdl.planning import Environment, Plan, plan
from hpcdl.script import render
from hpcdl.submission.prepare import prepare
from hpcdl.submission.send import submit

JOB = "name: a\nscript: program.py\ncontainer: ./my.sif\npackages: requirements.txt\npythonpath: [shared]\n"


@pytest.fixture
def job(tmp_path):
    """A job's folder, with a file in place of an image."""
    (tmp_path / "requirements.txt").write_text("pandas>=2\n")
    (tmp_path / "program.py").touch()
    (tmp_path / "shared").mkdir()
    (tmp_path / "my.sif").write_bytes(b"image")
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def cluster(tmp_path):
    return load_cluster(
        "generic", [f"cluster.runs_root={tmp_path}/runs", f"cluster.data_root={tmp_path}/data"]
    )


def changed(plan: Plan, **changes: Any) -> Plan:
    """A plan with changes of its container."""
    return replace(plan, container=replace(plan.require_container(), **changes))


def written(plan) -> Path:
    """What a build leaves."""
    overlay = Path(plan.container.overlay)
    overlay.parent.mkdir(parents=True)
    overlay.touch()
    overlay.with_name("manifest.json").write_text(
        json.dumps({"file": overlay.name, "packages": {}})
    )
    return overlay


def read(tmp_path, text: str) -> tuple[list[str], list[str]]:
    (tmp_path / "r.txt").write_text(text)
    return read_requirements(tmp_path / "r.txt")


def test_common_requirements_are_read(tmp_path):
    (tmp_path / "more.txt").write_text("scipy\n")
    text = """# what we need
pandas >= 2, <4     # tables
scikit-learn[extra]==1.5.*; python_version >= "3.9"
-r more.txt
name@ https://example.org/name-1.0.whl#sha256=12
tqdm\\
==4.66

pandas >= 2, <4
"""
    assert read(tmp_path, text) == (
        [
            "name@ https://example.org/name-1.0.whl#sha256=12",
            "pandas >= 2, <4",
            'scikit-learn[extra]==1.5.*; python_version >= "3.9"',
            "scipy",
            "tqdm==4.66",
        ],
        [],
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-e .", "build a wheel"),
        ("./wheels/x.whl", "build a wheel"),
        ("x @ file:///home/me/x.whl", "build a wheel"),
        ("--index-url https://example.org/simple", "PIP_INDEX_URL"),
        ("-f wheels", "--wheels DIR"),
        ("pandas==2.0 --hash=sha256:12", "options of pip"),
        ("-c constraints.txt", "options of pip"),
        ("pandas numpy", "is not a requirement"),
        ("pandas; rm -rf \x07", "control character"),
        ("-r nowhere.txt", "cannot read"),
        ("-r r.txt", "more than ten deep"),
        ("# nothing", "names no package"),
    ],
)
def test_bad_requirements_are_refused(tmp_path, line, words):
    _, problems = read(tmp_path, f"{line}\n")

    assert len(problems) == 1
    assert words in problems[0]


def test_password_in_requirement_is_hidden(tmp_path):
    """The requirement is refused, and the message does not show the password."""
    _, problems = read(tmp_path, "x @ https://me:t0ken@example.org/x.whl\n")

    assert "://***@example.org" in problems[0]
    assert "t0ken" not in problems[0]


def test_all_requirement_problems_are_reported(job):
    job.with_name("requirements.txt").write_text("-e .\npandas\n--pre\n")
    job.write_text(f"{JOB}nodes: 2\n")

    with pytest.raises(JobError) as told:
        load_job(job)
    assert "nodes" in str(told.value)
    job.write_text(JOB)
    with pytest.raises(JobError) as told:
        load_job(job)
    assert "job.yaml:4: packages: requirements.txt:1: -e ." in str(told.value)
    assert "job.yaml:4: packages: requirements.txt:3: --pre" in str(told.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("packages: nowhere.txt", "packages: there is no file"),
        ("pythonpath: [nowhere]", "pythonpath[0]: there is no folder"),
        ("pythonpath: [program.py]", "pythonpath[0]: is a file"),
    ],
)
def test_missing_package_paths(job, line, words):
    job.write_text(f"name: a\nscript: program.py\n{line}\n")

    with pytest.raises(JobError) as told:
        load_job(job)
    assert words in str(told.value)


def test_overlay_depends_on_image_and_requirements(job, cluster):
    """The path changes with the image, its Python and the requirements."""

    def overlay(**changes) -> str:
        decided = packages.located(changed(plan(load_job(job), cluster), **changes), cluster)
        return str(decided.require_container().overlay)

    first = overlay()
    assert Path(first).parents[1] == job.with_name("my.sif.packages")
    assert overlay() == first
    assert overlay(requirements=["pandas>=3"]) != first
    assert overlay(python="python3.9") != first
    job.with_name("my.sif").write_bytes(b"another image")
    assert overlay() != first


def test_unbindable_overlay_moves_to_runs_root(job, cluster):
    """An image path with a comma cannot be bound, so the overlay lies below runs_root."""
    image = job.with_name("my,own.sif")
    image.write_bytes(b"image")

    decided = packages.located(changed(plan(load_job(job), cluster), image=str(image)), cluster)

    assert Path(decided.require_container().overlay or "").parents[1] == Path(
        cluster.runs_root, ".packages"
    )


def test_existing_overlay_is_used(job, cluster):
    decided = packages.located(plan(load_job(job), cluster), cluster)
    elsewhere = Path(cluster.runs_root, ".packages", packages.key(decided), "packages.sqfs")
    written(changed(decided, overlay=str(elsewhere)))

    assert packages.located(decided, cluster).require_container().overlay == str(elsewhere)


def test_copied_overlay_is_used(job, cluster, tmp_path):
    """What was built elsewhere is found next to a copy of the image, whatever the two paths are."""
    overlay = written(packages.located(plan(load_job(job), cluster), cluster))
    site = tmp_path / "another site"
    shutil.copytree(tmp_path, site)

    there = packages.located(plan(load_job(site / "job.yaml"), cluster), cluster)
    assert there.container is not None
    assert there.container.overlay == str(site / overlay.relative_to(tmp_path))


def test_plan_needs_no_image(job, cluster):
    """The image may be on another machine; only the packages' steps read it."""
    job.with_name("my.sif").unlink()

    decided = plan(load_job(job), cluster)

    container = decided.require_container()
    assert (container.requirements, container.overlay) == (["pandas>=2"], None)
    assert packages.located(decided, cluster) == decided
    with pytest.raises(UserError, match="cannot be read here"):
        packages.require(decided)
    with pytest.raises(UserError, match="was not looked up"):
        render(decided)


def test_submit_needs_installed_packages(job, cluster, tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / cluster.runtime).write_text("#!/bin/sh\n")
    (tools / cluster.runtime).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    with pytest.raises(UserError, match="are not installed: hpcdl env build"):
        submit(prepare(load_job(job), cluster, "local"))

    assert not Path(cluster.runs_root).exists()


def test_packages_need_a_container(job, cluster, monkeypatch):
    """A run without a container ignores them with a note."""
    monkeypatch.setenv("PATH", "/nowhere")

    prepared = prepare(load_job(job), cluster, "local")

    assert prepared.plan.container is None
    assert any("counts in a container only" in note for note in prepared.notes)


def test_packages_come_after_pythonpath(job, cluster):
    """They are mounted read-only, and PYTHONPATH has the job's own folders first."""
    decided = packages.located(plan(load_job(job), cluster), cluster)
    shared = str(job.with_name("shared"))
    places = Places(workdir="/w", home="/h", stop_file="/s")

    words = argv_of(decided, places, ["true"])

    assert f"{decided.require_container().overlay}:{PACKAGES}:image-src=/,ro" in words
    assert f"{shared}:{shared}:ro" in words
    assert f"PYTHONPATH={shared}:{PACKAGES}" in words


def test_entries_of_hpcdl_come_first(job, cluster):
    decided = replace(
        changed(plan(load_job(job), cluster), overlay="/x.sqfs"),
        environment=Environment(pythonpath=["/my$(own)"]),
    )

    def pythonpath(first: str | Bash | None) -> Word:
        return environment(
            decided, Places(workdir="/w", home="/h", stop_file="/s", pythonpath=first)
        )["PYTHONPATH"]

    assert pythonpath("/code:/user") == f"/code:/user:/my$(own):{PACKAGES}"
    assert pythonpath(Bash("$PWD/code")) == Bash(f"$PWD/code:/my\\$(own):{PACKAGES}")
    assert pythonpath(None) == f"/my$(own):{PACKAGES}"


def test_jobs_without_packages_are_unchanged(job, cluster):
    decided = replace(
        changed(plan(load_job(job), cluster), requirements=[]),
        environment=Environment({"PYTHONPATH": "/mine"}),
    )

    words = argv_of(decided, Places("/w", "/h", "/s"), ["true"])

    assert "PYTHONPATH=/mine" in words
    assert not any(PACKAGES in word for word in words)


def test_pip_uses_settings_of_user(tmp_path):
    """Index and proxy settings are handed on; a target folder is not."""
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text(
        "[global]\nindex-url = https://one/simple\nextra-index-url =\n  https://two/simple\n  https://three/simple\n"
        "target = /somewhere\n[install]\nretries = 2\n"
    )
    env = {
        "PIP_RETRIES": "7",
        "PIP_TARGET": "/x",
        "https_proxy": "http://proxy:3128",
        "EDITOR": "vi",
    }

    told = pip_environment(env, tmp_path)

    assert told["PIP_INDEX_URL"] == "https://one/simple"
    assert told["PIP_EXTRA_INDEX_URL"] == "https://two/simple https://three/simple"
    assert told["PIP_RETRIES"] == "7"
    assert told["https_proxy"] == "http://proxy:3128"
    assert {"PIP_TARGET", "EDITOR"} & set(told) == set()


def test_pip_sees_local_index_folders(tmp_path):
    env = {
        "PIP_FIND_LINKS": f"{tmp_path} /nowhere",
        "PIP_INDEX_URL": f"file://{tmp_path}/",
        "http_proxy": "/etc",
    }

    assert local_paths(env) == [str(tmp_path), f"{tmp_path}/"]


def test_files_of_jupyter_are_kept(tmp_path):
    """Its page and its settings lie outside of site-packages, wherever below a prefix that is."""
    prefix = tmp_path / "prefix"
    for name in ("lib/python3.9/site-packages/a/__init__.py", "local/share/jupyter/lab/index.html",
                 "etc/jupyter/b.json", "share/man/a.1", "bin/a"):  # fmt: skip
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).touch()

    gather(str(prefix), str(tmp_path / "packages"))

    kept = [path for path in (tmp_path / "packages").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "packages")) for path in kept) == [
        *("a/__init__.py", "etc/jupyter/b.json", "share/jupyter/lab/index.html"),
    ]
    assert not prefix.exists()


def test_building_without_packages_is_refused(cli, job, cluster):
    job.write_text("name: a\nscript: program.py\ncontainer: ./my.sif\n")

    answer = cli("env", "build", job, "--cluster", "generic")

    assert (answer.code, answer.out) == (2, "")
    assert "has no packages" in answer.err


def test_building_needs_the_image(cli, job):
    job.with_name("my.sif").unlink()

    answer = cli("env", "build", job, "--cluster", "generic")

    assert (answer.code, answer.out) == (2, "")
    assert "cannot be read here" in answer.err
