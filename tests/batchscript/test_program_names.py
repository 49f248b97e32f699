"""A container's command is known behind which, a default and a variable of either name."""

from __future__ import annotations

import pytest

from hpcdl.adopt import adopt
from hpcdl.batchscript.model import BatchScript
from hpcdl.batchscript.read import read_script

REST = "exec --nv -B /d:/w i.sif python /w/x.py --n 3"


@pytest.fixture
def read(tmp_path):
    """Reads the commands of a script."""

    def make(commands: str) -> BatchScript:
        path = tmp_path / "a.slurm"
        path.write_text(f"#!/bin/bash\n#SBATCH --gpus-per-node=1 -c4\n{commands}\n")
        return read_script(path)

    return make


@pytest.mark.parametrize(
    "commands",
    [
        f"$(which apptainer) {REST}",
        f'"$(which singularity)" {REST}',
        f"`which apptainer` {REST}",
        f"srun $(command -v singularity) {REST}",
        f"$(command -v apptainer || command -v singularity) {REST}",
        f"$(which apptainer 2>/dev/null || which singularity) {REST}",
        f"RT=singularity; $RT {REST}",
        f'RT="singularity"; "${{RT}}" {REST}',
        f"RT=$(which apptainer); $RT {REST}",
        f"${{CONTAINER_CMD:-apptainer}} {REST}",
        f"RT=${{1:-/usr/bin/singularity}}; srun $RT {REST}",
        f"if command -v apptainer; then RT=apptainer; else RT=singularity; fi; $RT {REST}",
        f"RT=singularity; if [ -x /a ]; then RT=$(which apptainer); fi; $RT {REST}",
        f"export RT=$(which apptainer); bash -c '$RT {REST}'",
    ],
)
def test_container_commands_are_known(read, commands):
    script = read(commands)
    (program,) = [program for program in script.programs if program.container is not None]
    document = adopt(script).document.plain()

    assert program.container and program.container.has("nv")
    assert program.container.image and program.container.image.text == "i.sif"
    assert (document["script"], document["args"]) == ("/d/x.py", ["--n", "3"])
    assert document["cluster"]["binds"] == ["/d:/w"]


@pytest.mark.parametrize(
    "commands",
    [
        f"$(which docker) {REST}",
        f"$(module which apptainer) {REST}",
        f"${{RT:-docker}} {REST}",
        f"RT=apptainer; if x; then RT=docker; fi; $RT {REST}",
        f"RT=$(which apptainer); read RT; $RT {REST}",
        f"RT=$(which apptainer); for x in 1; do RT=$x; done; $RT {REST}",
        f"RT=$(which apptainer); (true); unset RT; $RT {REST}",
        f"$(which apptainer)-old {REST}",
    ],
)
def test_other_commands_are_not_taken_for_it(read, commands):
    assert not [program for program in read(commands).programs if program.container is not None]


@pytest.mark.parametrize(
    ("commands", "runtime"),
    [
        (f"$(which singularity) {REST}", "singularity"),
        (f"${{RT:-singularity}} {REST}", None),
        (f"if x; then RT=apptainer; else RT=singularity; fi; $RT {REST}", None),
    ],
)
def test_which_of_both_is_not_guessed(read, commands, runtime):
    assert adopt(read(commands)).runtime == runtime


def test_python_is_known_by_which(read):
    script = read('PY=$(which python3)\n$PY x.py\n"${PYTHON:-python}" y.py\n$(which Rscript) z.py')

    assert [p.script.text for p in script.programs if p.script] == ["x.py", "y.py"]
