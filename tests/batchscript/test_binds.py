"""Where a container's paths lie outside: the findings and the job file know it alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcdl.adopt import adopt
from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.folders import script_path
from hpcdl.batchscript.read import read_script

RUN = "apptainer exec i.sif python /w/x.py"


@pytest.mark.parametrize(
    "name", ["APPTAINER_BIND", "SINGULARITY_BIND", "APPTAINER_BINDPATH", "SINGULARITY_BINDPATH"]
)
@pytest.mark.parametrize("form", ["export {}=/d:/w\n", "{}=/d:/w ", "A=/d; export {}=$A:/w:ro\n", "{}=/a\nexport {}=/d:/w,/b\n"])  # fmt: skip
def test_binds_of_variables(tmp_path, name, form):
    assert paths(tmp_path, form.replace("{}", name) + RUN) == ("/d/x.py", "/d/x.py")


def paths(folder: Path, commands: str) -> tuple[str | None, object]:
    """The script's path as the findings know it, and as the job file does."""
    (folder / "a.slurm").write_text(f"#!/bin/bash\n{commands}\n")
    script = read_script(folder / "a.slurm")
    (program,) = [program for program in script.programs if program.script is not None]
    found = script_path(script, program, folder)
    return str(found) if found is not None else None, adopt(script).document.plain().get("script")


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("apptainer exec --mount type=bind,src=/d,dst=/w i.sif python /w/x.py", ("/d/x.py", "/d/x.py")),
        (f"APPTAINER_BIND=/a:/w\nexport APPTAINER_BIND=/d:/w\n{RUN}", ("/d/x.py", "/d/x.py")),
        (f"export APPTAINER_BIND=/a:/w; {RUN.replace('exec', 'exec -B /d:/w')}", ("/d/x.py", "/d/x.py")),
        (f"APPTAINER_BIND=/a:/w\n{RUN}", ("/w/x.py", "/w/x.py")),
        (f"export APPTAINER_BIND=/d:/w; unset APPTAINER_BIND; {RUN}", ("/w/x.py", "/w/x.py")),
        (f"export APPTAINER_BIND=/d:/w; bash -c '{RUN}'", ("/d/x.py", "/d/x.py")),
        (f"APPTAINER_BIND=/d:/w bash -c '{RUN}'", ("/d/x.py", "/d/x.py")),
        (f"bash -c 'export APPTAINER_BIND=/d:/w; {RUN}'", ("/d/x.py", "/d/x.py")),
        (f"{RUN.replace('python /w/x.py', '')} bash -c 'export APPTAINER_BIND=/d:/w; python /w/x.py'", ("/w/x.py", "/w/x.py")),
        (f"export APPTAINER_BIND=$DATA:/w\n{RUN}", (None, "$DATA/x.py")),
        (f"export APPTAINER_BIND=$(here):/w\n{RUN}", (None, None)),
    ],
)  # fmt: skip
def test_binds_in_effect(tmp_path, commands, expected):
    assert paths(tmp_path, commands) == expected


@pytest.mark.parametrize(
    "commands",
    [
        f"export APPTAINER_BIND=$BINDS\n{RUN}",
        f"if x; then export APPTAINER_BIND=/d:/w; fi\n{RUN}",
        "apptainer exec --mount $M i.sif python /w/x.py",
    ],
)
def test_unknown_binds_leave_the_path_unknown(tmp_path, commands):
    assert paths(tmp_path, commands)[0] is None


PYXIS = "srun --container-image=/i.sqsh --container-mounts"


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (f"{PYXIS}=/d:/w python /w/x.py", ("/d/x.py", "/d/x.py")),
        (f"{PYXIS}=/a:/b,/d:/w:ro --container-workdir=/w python x.py", ("/d/x.py", "/d/x.py")),
        ("#SBATCH --container-image=/i.sqsh\n#SBATCH --container-mounts=/d:/w\npython /w/x.py", ("/d/x.py", "/d/x.py")),
        (f"{PYXIS}=$DATA:/w python /w/x.py", (None, "$DATA/x.py")),
        (f"{PYXIS}=/d:/w python /opt/x.py", (None, "/opt/x.py")),
        (f"{PYXIS}=/d:/w python x.py", (None, "x.py")),
        (f"{PYXIS}=/d:/w bash -c 'cd /w && python x.py'", ("/d/x.py", "/d/x.py")),
        (f"cd s; {PYXIS}=/d:/w --container-workdir=/w bash -c 'cd a; bash -c \"cd b; python x.py\"'", ("/d/a/b/x.py", "/d/a/b/x.py")),
        (f"{PYXIS}=/d:/w bash -c 'cd /workspace; python x.py'", (None, None)),
        (f"{PYXIS}=/d:/w bash -c 'cd $X; python /w/x.py'", ("/d/x.py", "/d/x.py")),
        (f"{PYXIS}=$PWD:/w bash -c 'cd $PWD; python x.py'", (None, None)),
        (f"{PYXIS}=/d:/w true; cd s; python x.py", ("HERE/s/x.py", "s/x.py")),
        ("#SBATCH --container-image=/i.sqsh\n#SBATCH --container-mounts=/d:/w\ncd /w\npython x.py", ("/d/x.py", "/d/x.py")),
        ("#SBATCH --container-image=/i.sqsh\ncd /workspace\npython x.py", (None, None)),
    ],
)  # fmt: skip
def test_mounts_of_pyxis(tmp_path, commands, expected):
    found, job = paths(tmp_path, commands)

    assert (found and found.replace(str(tmp_path), "HERE"), job) == expected


def test_folders_in_pyxis_are_the_images(tmp_path):
    within = "bash -c 'cd /tmp/w; python x.py'"
    for commands in (f"{PYXIS}=/d:/w {within}", "#SBATCH --container-name=a\ncd /tmp/w"):
        (tmp_path / "a.slurm").write_text(f"#!/bin/bash\n{commands}\n")
        found = findings(read_script(tmp_path / "a.slurm"), Surroundings())

        assert "login-folder" not in {finding.code for finding in found}
