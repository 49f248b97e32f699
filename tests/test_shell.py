"""``hpcdl shell`` where the container command comes from a module, or from nowhere."""

from __future__ import annotations

import os
import subprocess

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.shell import argv_for_job

SITE = """name: site
node: {{cpus: 8, gpus: 1}}
images: {{tensorflow: {folder}/tf.sif}}
runtime: singularity
modules: [singularity/3.6]
module_init: {folder}/init.sh
data_root: {folder}
"""
NOWHERE = "run hpcdl shell on a machine of site that has"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs a program in a job's container, on a machine whose ``module`` is what the test defines."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bash").symlink_to("/bin/bash")
    (tmp_path / "tf.sif").touch()
    (tmp_path / "t.py").touch()
    (tmp_path / "a.yaml").write_text("name: a\nscript: t.py\n")
    (tmp_path / "site.yaml").write_text(SITE.format(folder=tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BASH_FUNC_", "LMOD_", "MODULE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(programs))

    def run(module: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "init.sh").write_text(module)
        job = load_job(tmp_path / "a.yaml")
        argv, env, folder = argv_for_job(
            job, load_cluster(tmp_path / "site.yaml"), ["hello"], tmp_path / "runs"
        )
        return subprocess.run(
            argv, env=env, cwd=folder, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "",
            f"there is no singularity command here, nor a module command that could load it: {NOWHERE} one of them",
        ),
        (
            'module() { [ "$1" = purge ]; }',
            "the modules of site do not load here (singularity/3.6), and there is no singularity command without them",
        ),
        (
            "module() { :; }",
            f"there is no singularity command here, with the modules of site loaded (singularity/3.6): {NOWHERE} it",
        ),
    ],
    ids=["no module command", "no such module", "a module without the command"],
)
def test_no_container_command(shell, module, said):
    done = shell(module)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {said}\n"


def test_module_gives_the_command(shell, tmp_path):
    command = tmp_path / "modules/singularity"
    command.parent.mkdir()
    command.write_text('#!/bin/bash\necho "singularity $1"\n')
    command.chmod(0o755)

    done = shell(f'module() {{ [ "$1" = purge ] || PATH={command.parent}:$PATH; }}')

    assert (done.returncode, done.stdout, done.stderr) == (0, "singularity exec\n", "")
