"""Words of commands are what bash makes of them; what cannot be known before it runs is not guessed."""

from __future__ import annotations

import random
import subprocess

import pytest

from hpcdl.batchscript.read import read_script
from hpcdl.batchscript.shelltree import parse
from hpcdl.batchscript.words import Values, words_of_command

KNOWN = {"A": "a b", "P": "/x y/z.sif", "E": "", "L": " lead trail ", "Q": "q", "HOME": "/h"}
PARTS = [
    *(
        "$A",
        "${A}",
        '"$A"',
        '"${P}/s"',
        "$E",
        '"$E"',
        "$L",
        "$Q",
        "x",
        "'s q'",
        '"d $Q e"',
        "=",
        "-",
    ),
    *(
        '"$A  $Q"',
        "a\\ b",
        "~",
        "~/p",
        "/",
        "${E:-def}",
        '${E:-"d $Q"}',
        "${Q:-no}",
        "${A:=n}",
        ":",
    ),
    *("$'t\\tq'", '"\\$A"', '""', "''", "#", "${E-x}", '"a\\\\b"', '"\\""', "%", "é"),
    *("{a,b}", "{", "}", ",", "{1..3}", "x{$Q,b}", "..", '{"a","b"}'),
]
SEED, COUNT = 17, 400


def commands() -> list[str]:
    chance = random.Random(SEED)
    return [
        " ".join("".join(chance.choices(PARTS, k=chance.randint(1, 3))) for _ in range(2))
        for _ in range(COUNT)
    ]


def of_bash(lines: list[str]) -> list[list[str]]:
    """What bash makes of the words of each line."""
    script = "".join(f"{name}='{value}'\n" for name, value in KNOWN.items())
    script += 'told() { printf \'%s\\0\' "$#" "$@"; }\n'
    script += "".join(f"told {line}\n" for line in lines)
    done = subprocess.run(
        ["bash"],
        input=script,
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"HOME": "/h"},
    )
    items, found = iter(done.stdout.split("\0")), []
    for _ in lines:
        found.append([next(items) for _ in range(int(next(items)))])
    return found


def test_words_are_what_bash_makes():
    lines = commands()
    compared = 0
    for line, words in zip(lines, of_bash(lines), strict=True):
        command = parse(f"told {line}").children[0]
        ours = [word.text for word in words_of_command(command.children, Values({}, dict(KNOWN)))]
        if None not in ours:
            compared += 1
            assert ours == ["told", *words], line

    assert compared > COUNT // 2


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        ("X=/a\n", "/a/f"),
        ("X=/a\nX=/b\n", "/b/f"),
        ("export X=/a\n", "/a/f"),
        ("D=/d\nX=$D/a\n", "/d/a/f"),
        ("D=/d\nX=$D\nD=/e\n", "/d/f"),
        ("X=/a\nX+=/b\n", "/a/b/f"),
        ("X=/a\n(X=/b)\n", "/a/f"),
        ("X=/a\necho | X=/b\n", "/a/f"),
        ("X=/a\nif true; then X=/a; fi\n", "/a/f"),
        ("if x; then X=/a; else X=/a; fi\n", "/a/f"),
        ("X=/a\nfor Y in 1 2; do :; done\n", "/a/f"),
        ("", None),
        ("X=$(pwd)\n", None),
        ("X=$SLURM_SUBMIT_DIR\n", None),
        ("X=$1\n", None),
        ("X=/a\nif true; then X=/b; fi\n", None),
        ("X=/a\ntrue && X=/b\n", None),
        ("X=/a\nfor X in /b /c; do :; done\n", None),
        ("X=/a\nwhile x; do X=/b; done\n", None),
        ("X=/a\nread -r X\n", None),
        ("X=/a\nprintf -v X %s b\n", None),
        ("X=/a\nf() { X=/b; }\nf\n", None),
        ("X=/a\nunset X\n", None),
        ("X=(/a /b)\n", None),
        ("X=/a\ncase $1 in a) X=/b;; esac\n", None),
        ("X=1\n((X++))\n", None),
        ("X=*.py\n", None),
    ],
)
def test_values_are_known_or_not(tmp_path, lines, known):
    path = tmp_path / "a.sh"
    path.write_text(f'#!/bin/bash\n{lines}use "$X/f"\n')

    (use,) = read_script(path).commands_named("use")

    assert use.words[1].text == known
    assert use.words[1].unknown == (() if known else ("$X",))


def test_places_of_commands_are_seen(tmp_path):
    path = tmp_path / "a.sh"
    path.write_text(
        "#!/bin/bash\n"
        "a=$(in_substitution)\n"
        "for i in $(list); do in_loop; done\n"
        "if test_it; then in_branch; fi\n"
        "f() { in_function; }\n"
        "cat <<EOF | reads_pipe > out\nin the document\nEOF\n"
        "behind &\n"
        "before && last <<END\nfor the last\nEND\n"
        "time -p env X=1 srun -n 2 --label python -u 'a b.py' --x=1 <<< text\n"
    )

    script = read_script(path)
    place = {command.name: command for command in script.commands}

    assert place["in_substitution"].substituted and place["list"].substituted
    assert place["in_loop"].in_loop and place["in_branch"].conditional
    assert not place["test_it"].conditional
    assert place["in_function"].function == "f" and script.functions == ("f",)
    assert place["cat"].heredoc == "in the document\n" and place["cat"].writes_pipe
    assert place["reads_pipe"].reads_pipe
    assert place["before"].heredoc is None and place["last"].heredoc == "for the last\n"
    assert place["last"].conditional and not place["before"].conditional
    assert place["behind"].background
    assert place["time"].heredoc == "text"
    program = script.programs[-1]
    assert [launcher.name for launcher in program.launchers] == ["srun"]
    assert program.script and program.script.text == "a b.py"
    assert [word.text for word in program.args] == ["--x=1"]


@pytest.mark.parametrize(
    ("line", "image", "program"),
    [
        ("singularity exec --nv -B /a:/b i.sif python a.py", "i.sif", "a.py"),
        ("apptainer --quiet run -B/a i.sif a.py", "i.sif", None),
        ('apptainer exec --bind="$D:/d" --env A=1 "$I" python3.11 -W ignore a.py 1', None, "a.py"),
        ("srun --mpi=pmix -c4 singularity exec -eC i.sif python -X dev a.py", "i.sif", "a.py"),
        ("timeout -k 5 3600 nice -n 5 singularity exec i.sif python a.py", "i.sif", "a.py"),
        ("mpirun -np 4 --bind-to none singularity exec i.sif python a.py", "i.sif", "a.py"),
        ("srun -n1 -c$N apptainer exec -B$D:/d i.sif python a.py", "i.sif", "a.py"),
        ('srun -n1 "-c$N" apptainer exec "-B$D:/d" i.sif python a.py', "i.sif", "a.py"),
        ('apptainer exec "--bind=$D:/d" -B"$D" i.sif python a.py', "i.sif", "a.py"),
        ("X=1 exec singularity exec --pwd /w i.sif python a.py", "i.sif", "a.py"),
    ],
)
def test_program_behind_its_launchers(tmp_path, line, image, program):
    path = tmp_path / "a.sh"
    path.write_text(f"#!/bin/bash\n{line}\n")

    (found,) = read_script(path).programs

    assert found.container and found.container.image
    assert found.container.image.text == image
    assert (found.script.text if found.script else None) == program


@pytest.mark.parametrize(
    ("lines", "is_known"),
    [
        ("X=a\n", True),
        ("".join(f"X{n + 1}=$X{n}$X{n}\n" for n in range(40)) + "X=$X40\n", False),
        ("".join(f"X{n + 1}=$X{n}$X{n}\n" for n in range(16)) + "X=$X16\n", True),
        (f"X={'a' * 140_000}\n", False),
        ("X=a\nX+=$X\n" + "X+=$X\n" * 30, False),
    ],
)
def test_long_values_are_not_known(tmp_path, lines, is_known):
    path = tmp_path / "a.sh"
    path.write_text(f"#!/bin/bash\nX0=x\n{lines}use $X\n")

    (use,) = read_script(path).commands_named("use")

    assert (use.words[1].text is not None) == is_known


def test_many_words_are_not_known(tmp_path):
    path = tmp_path / "a.sh"
    doubled = "".join(f'X{n + 1}="$X{n} $X{n}"\n' for n in range(16))
    path.write_text(f"#!/bin/bash\nX0=x\n{doubled}use {'$X16 ' * 1000}\n")

    (use,) = read_script(path).commands_named("use")

    assert len(use.words) < 200_000 and use.words[-1].text is None
