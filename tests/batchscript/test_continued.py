"""Commands of several lines, and lines of several commands, as bash itself divides them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpcdl.adopt import adopt
from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script

H = "#!/bin/bash\n#SBATCH --account=nct00\n#SBATCH --time=00:10:00\n"
SAYS = 'says() { printf "%s\\037" "$@"; printf "\\036"; }\n'  # each argument, each command
SED = r"sed -i 's/\\[ \t]*$/\\/' a.slurm"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a script of some lines."""
    monkeypatch.chdir(tmp_path)

    def make(lines):
        Path("a.slurm").write_text(H + lines)
        return read_script(Path("a.slurm"))

    return make


@pytest.mark.parametrize(
    "lines",
    [
        "LR=1 BS=2\nIMG=/a.sif\nsays $IMG $LR $BS\n",
        "LR=1 BS=2 # two \\\nsays $LR\n",
        "A=1 B=2\n\nC=3 D=4\nsays $A $B $C $D\nE=5 F=6\nsays $E\n",
        "A=1 \\\nB=2 \\\nsays x y\n",
        "true && A=1 B=2\nsays hello\n",
        "says a \\\n\nsays b\n",
        'says "a \\\n\nb" c\n',
        "says --data=/a/b\\\n/c --lr\\\n=3 'a b'\\\n\"c\"\\\nd\nsa\\\nys x\n",
        'A="/a b" B=\nsays "$A"\\\n/c x\\\n$B y\\\n\\\nz \\\nv\\\n w\n',
        "says a `# of all` \\\n  `# it's` \\\n  b --c=1 `# last` \nsays d `# no`\n",
        "f() { A=1 B=2\nsays in; }\nA=2 B=3\nf\n",
        'X="a b" Y=$X\nsays "$Y" --x="$X" --y=1\n',
    ],
)
def test_commands_are_those_of_bash(read, lines):
    done = subprocess.run(["bash"], input=SAYS + lines, capture_output=True, encoding="utf-8")
    said = [call.split("\x1f")[:-1] for call in done.stdout.split("\x1e")[:-1]]

    calls = read(lines).commands_named("says")

    assert said
    assert [[word.text for word in call.words[1:]] for call in calls] == said


@pytest.mark.parametrize(
    ("lines", "line", "cause", "fix"),
    [
        ("./a x \\ \n  --epochs=5 \\\n  --lr=2\n", 5, "line 4 has a blank behind it", SED),
        ("./a x \\\t\n  -v\n", 5, "line 4 has a blank behind it", SED),
        ("srun -c1 \\\n  nice \\  \n  ./a x\n", 6, "line 5 has a blank behind it", SED),
        ("./a x \\\n  # no \\\n  --lr=2\n", 6, "the comment in line 5 ends", "above the whole"),
        ("./a x \\\n\n  --lr=2\n", 6, "the empty line 5 ends", "remove line 5"),
        ("./a x \\\n  # no\n # do\n  --lr=2\n", 7, "comment in line 5 ends", "command: # do"),
        ("./a x \\ # one\n  --lr=2\n", 5, "behind the backslash", "the comment: ./a x \\"),
        ("./a x \\ # one\n  b c\n", 5, "behind the backslash", "the comment: ./a x \\"),
        ("./a x # one \\\n  --lr=2\n", 5, "comment in line 4 ends", "the comment: ./a x \\"),
        ("./a x # one\n  --lr=2\n", 5, "no backslash ends line 4", "the comment: ./a x \\"),
        ("./a x\n  # one\n  --lr=2\n", 6, "no backslash ends line 4", "a x \\; put the comm"),
        ("./a x\n  --lr 2\n", 5, "no backslash ends line 4", "in line 4: ./a x \\"),
    ],
)
def test_command_that_ends_too_early(read, lines, line, cause, fix):
    (said,) = findings(read(lines), Surroundings())

    assert (said.code, said.line, said.blocks) == ("torn-line", line, True)
    assert cause in said.cause
    assert fix in said.fix


def test_lines_without_a_blank_between(read):
    lines = "says \\\n--freeze 1\\\n--size=2 \\\n--lr 3\\\n  -v\n"
    done = subprocess.run(["bash"], input=SAYS + lines, capture_output=True, encoding="utf-8")

    (said,) = findings(read(lines), Surroundings())

    assert "\x1f1--size=2\x1f" in done.stdout
    assert (said.code, said.line) == ("torn-line", 5)
    assert "one word of two, 1--size" in said.cause
    assert said.fix == "in line 5: --freeze 1 \\"


@pytest.mark.parametrize(
    "lines",
    [
        "IFS=\\ \n  echo x\n",
        "echo a,b | tr , \\ \necho x\n",
        "echo a # no \\ \n  echo x\n",
        "cat <<E\n./a \\ \n  --lr=2\nE\n",
        "./a \\\n  --out b `# here` \\\n  --lr=2 \\\n  -v `# last`\n",
        './a --with="\\\n--x=/y"\n',
        'echo "a \\ \n  --lr=2"\n',
        "./a \\\n  --lr=2\n",
        "case $1 in\n  -v) echo x;;\nesac\n",
    ],
)
def test_lines_that_end_as_meant(read, lines):
    assert findings(read(lines), Surroundings()) == []


def test_remedy_of_a_blank_mends_it(read):
    script = read("./a x \\ \n  --epochs=5 \\\t\n  --lr=2\n")
    said = findings(script, Surroundings())
    subprocess.run(["bash", "-c", said[0].fix], check=True)

    mended = read_script(script.path)

    assert findings(mended, Surroundings()) == []
    assert [word.text for word in mended.commands[0].words][2:] == ["--epochs=5", "--lr=2"]


def test_options_below_a_torn_line_are_listed(read):
    made = adopt(read("python a.py \\ \n  --epochs=5 \\\n  --lr=2\n"))

    assert [item.line for item in made.left if "--epochs=5" in item.text] == [5]


def test_two_assignments_tear_no_image(read):
    made = adopt(read("LR=0.1 BS=32\nIMG=/a.sif\napptainer exec $IMG python a.py --lr $LR\n"))

    assert made.document.plain()["container"] == "/a.sif"
    assert made.document.plain()["args"] == ["--lr", "0.1"]
    assert "env" not in made.document.plain()
    assert made.left == []


def test_torn_image_is_shown_as_meant(read):
    made = adopt(read("IMG=/our images/a.sif\napptainer exec $IMG python a.py\n"))

    assert any('"/our images/a.sif"' in item.fix for item in made.left)


@pytest.mark.parametrize(
    "word", ["$A\\\nB", "{a\\\n,b}", "[a\\\nb]", "a\\\n*", "$\\\nA", "x$(y)\\\n/z"]
)
def test_joined_words_are_not_guessed(read, word):
    (call,) = read(f"A=1 AB=2\nsays {word}\n").commands_named("says")

    assert [given.text for given in call.words[1:]] == [None]


def test_image_over_two_lines_is_whole(read):
    script = read("apptainer exec /a/tensor\\\nflow.sif python x.py\n")
    (program,) = script.programs

    assert program.container.image.text == "/a/tensorflow.sif"
    assert findings(script, Surroundings()) == []
