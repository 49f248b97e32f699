"""What real people's scripts have, and what must not, or must, be said of it."""

from __future__ import annotations

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.model import ScriptFinding
from hpcdl.batchscript.read import read_script

H = "#!/bin/bash\n#SBATCH --account=nct00 --time=00:10:00 --gpus=1 --cpus-per-task=4\n"
RUN = "singularity run --no-home $SIF bash -c 'python x.py'\n"


@pytest.fixture
def said(tmp_path):
    """The findings of a script."""

    def look(text: str, vendor: str = "nvidia") -> list[ScriptFinding]:
        path = tmp_path / "a.slurm"
        path.write_text(text)
        around = Surroundings((22, 5), home=tmp_path, folder=tmp_path, gpu_vendor=vendor)
        return findings(read_script(path), around)

    return look


@pytest.mark.parametrize(
    "lines",
    [
        f"#SBATCH --partition=small-g\n{RUN}",
        f"#SBATCH --gpus-per-node=mi250:8\n{RUN}".replace("--gpus=1", ""),
        f"module load lumi-aif-singularity-bindings\n{RUN}",
        f"SIF=/appl/local/laifs/containers/lumi-multitorch.sif\n{RUN}",
        f"CONTAINER=/x/pytorch-rocm-6.2.1-py.sif\nSIF=$CONTAINER\n{RUN}",
        f"SIF=/x/tf.sif\n{RUN}".replace("$SIF", "/x/tf-rocm.sif"),
    ],
)
def test_amd_needs_no_option(said, lines):
    assert [one.code for one in said(H + lines) if one.code == "gpus-without-nv"] == []


def test_amd_by_the_profile(said):
    text = f"{H}SIF=/x/tf.sif\n{RUN}"

    assert [one.code for one in said(text)] == ["gpus-without-nv"]
    assert said(text, "amd") == []


@pytest.mark.parametrize(
    ("lines", "is_lost"),
    [
        ("module load ccpe\necho $CCPE_IMAGE\n", False),
        ("ml ccpe; echo $CCPE_IMAGE\n", False),
        ("echo $CCPE_IMAGE\nmodule load ccpe\n", True),
        ("bash -c 'echo $RATE'\n", True),
        ("bash -lc 'echo $RATE'\n", False),
    ],
)
def test_modules_set_variables(said, lines, is_lost):
    codes = [one.code for one in said(f"{H}#SBATCH --export=NONE\n{lines}")]

    assert codes == ["export-lost"] * is_lost


def test_remedies_of_first_lines_go_on(said):
    (found,) = said(f"{H}SIF=/x/a.sif\nsingularity exec --no-home \\\n  $SIF python x.py\n")

    assert found.fix.endswith("singularity exec --nv --no-home \\")
