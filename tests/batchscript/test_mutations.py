"""2,000 mutated batch scripts: each is read or refused in words, and no command of any is run."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from hpcdl.batchscript.findings import Surroundings, findings
from hpcdl.batchscript.read import read_script
from hpcdl.errors import UserError

CORPUS = Path(__file__).with_name("corpus")
SCRIPTS = [
    path for folder in ("corpus", "bad") for path in sorted(CORPUS.with_name(folder).iterdir())
]
SEED, COUNT = 17, 2_000
DEEDS = [
    *("$(touch pwned)", "`touch pwned`", "; touch pwned;", "\ntouch pwned\n", "<(touch pwned)"),
    *("${x:=$(touch pwned)}", "$((a[$(touch pwned)]))", "\ntrap 'touch pwned' EXIT DEBUG\n"),
    *(
        "\nBASH_ENV=pwn.sh\n",
        "\n. ./pwn.sh\n",
        "\neval touch pwned\n",
        "\ntouch() { : > pwned; }\n",
    ),
]
PIECES = [
    *"'\"`\\$(){}<>|&;#=:,*?[]!~- \t\n\r\0\x1b",
    *(
        "é",
        "手",
        "\ufeff",
        "\u2028",
        "\udcff",
        "<<EOF\n",
        "\nEOF\n",
        "\n#SBATCH ",
        "#SBATCH hetjob\n",
    ),
    *(
        "\n#SBATCH --mem=",
        "-N=2",
        "--time=99999999-99",
        "--nodes=-1",
        "--gres=gpu:x:y:z",
        "--export=,",
    ),
    *(
        "srun -n ",
        "singularity exec --nv ",
        "\nbash -c '",
        'bash -lc "',
        "case x in",
        "\ndone\n",
        "\nfi\n",
        "function f {",
        "(" * 400,
    ),
]


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(text) + 1)
        end = min(len(text), place + chance.randint(1, 40))
        deed = chance.choice([*DEEDS, *PIECES, "", text[place:end] * chance.randint(2, 5)])
        text = text[:place] + deed + text[chance.choice([place, end]) :]
    return text


@pytest.fixture
def started():
    """Every command that this process starts, in whatever way; Python itself tells (sys.addaudithook)."""
    commands: list[tuple[str, ...]] = []
    is_listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
            commands.append(tuple(map(str, arguments[1])))  # type: ignore[call-overload]
        elif is_listening and event in ("os.system", "os.startfile", "pty.spawn"):
            commands.append((event, str(arguments)))

    sys.addaudithook(listen)  # no hook can be taken away
    yield commands
    is_listening = False


def test_mutated_scripts_run_nothing(tmp_path, monkeypatch, started):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pwn.sh").write_text("touch pwned\n")
    script = tmp_path / "job.slurm"
    chance = random.Random(SEED)
    originals = [
        path.read_bytes().decode(errors="surrogateescape") for path in SCRIPTS if path.is_file()
    ]
    refused = 0

    for number in range(COUNT):
        text = mutated(chance.choice(originals), chance)
        script.write_bytes(text.encode(errors="surrogateescape"))
        try:
            for one in findings(read_script(script), Surroundings((22, 5), folder=tmp_path)):
                assert one.code and one.cause and one.fix and one.line >= 1, (number, one)
        except UserError as error:
            refused += 1
            assert str(error), number
        except Exception as error:
            raise AssertionError(f"mutation {number}: {text!r}") from error

    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.slurm", "pwn.sh"]
    assert set(started) == {("bash", "-n")}
    assert COUNT // 10 < refused < COUNT  # some of both
