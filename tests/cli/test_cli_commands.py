"""The command line: a result on stdout, talk on stderr, exit codes 0, 1 and 2, and help that tells the truth."""

from __future__ import annotations

import os
import subprocess
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import click
import pytest

import hpcdl.cli.options
from hpcdl.cli import COMMANDS
from hpcdl.cluster import built_in_profiles

ACCOUNT = ("--set", "cluster.account=nct00")
MARENOSTRUM = ("--cluster", "marenostrum5", *ACCOUNT)


def all_commands() -> dict[str, click.Command]:
    """Each command and subcommand by its words."""
    found = {}
    for name in COMMANDS:
        found[name] = import_module(f"hpcdl.cli.{name}").command
        for inner, command in getattr(found[name], "commands", {}).items():
            found[f"{name} {inner}"] = command
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_short_help_matches_command_list(name):
    command = import_module(f"hpcdl.cli.{name}").command

    assert command.short_help == COMMANDS[name]


@pytest.mark.parametrize(("words", "command"), all_commands().items(), ids=all_commands())
def test_help_is_complete(cli, words, command):
    answer = cli(*words.split(), "--help")

    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: hpcdl {words} ")
    assert command.short_help
    assert command.help
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or parameter.help, (
            f"{parameter.opts} has no help"
        )


@pytest.mark.parametrize(
    "words",
    [
        "",
        "adopt",
        "check",
        "render",
        "submit",
        "sweep",
        "shell",
        "data stage",
        "cluster show",
        "cluster test",
        "init",
    ],
)
def test_help_examples_are_real(cli, words):
    """The examples in --help name commands and options that exist."""
    lines = [
        line.split()
        for line in cli(*words.split(), "--help").out.splitlines()
        if line.startswith("  hpcdl ")
    ]
    commands = all_commands()

    assert lines
    for line in lines:
        command = commands.get(" ".join(line[1:3])) or commands[line[1]]
        command = getattr(command, "without_word", command)
        known = {option for parameter in command.params for option in parameter.opts}
        own = takewhile(lambda word: word not in ("--", "&&", ">"), line[2:])
        assert {word for word in own if word.startswith("-")} <= known, line


def test_help_lists_commands_in_order(cli):
    text = cli("--help").out.partition("Commands:")[2]

    assert [line.split()[0] for line in text.splitlines() if line.strip()] == list(COMMANDS)
    assert all(line in text for line in COMMANDS.values())


def test_version_shown(cli):
    assert cli("--version").out == f"hpcdl {hpcdl.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "code", "part"),
    [
        ((), 2, "Usage: hpcdl"),
        (("rendr",), 2, "no command 'rendr'; did you mean render?"),
        (("frobnicate",), 2, "no command 'frobnicate'; known are init, jobs, data, adopt, render"),
        (("help",), 2, "no command 'help', but an option: hpcdl --help"),
        (("render",), 2, "Missing argument 'JOB'"),
        (("render", "mnist_cnn", "--clutser", "x"), 2, "No such option"),
        (("submit", "mnist_cnn", "--backend", "pbs"), 2, "'pbs' is not one of 'slurm', 'local'"),
        (("render", "nowhere.yaml", *MARENOSTRUM), 2, "hpcdl: there is no job file 'nowhere.yaml'"),
        (("render", "mnist_cnn", "--cluster", "marenostrum5"), 2, "--set cluster.account=<your group>"),
        (("render", "mnist_cnn", "--cluster", "mars"), 2, "there is no cluster profile 'mars'"),
        (("render", "mnist_cnn", "--cluster", "local"), 2, "resources.gpus: is 1, but a node of local has 0"),
        (("render", "digits_cnn", "--cluster", "local"), 2, "local names no container image"),
        (("render", "mnist_cnn", *MARENOSTRUM, "--set", "resources.gpus=9"), 2, "a node of marenostrum5 has 4"),
        (("render", "mnist_cnn", *MARENOSTRUM, "--set", "cluster.nodes=1"), 2, "did you mean node"),
        (("submit", "digits_cnn", "--cluster", "local"), 2, "choose another --cluster, or --backend local"),
        (("submit", "digits_cnn", "--backend", "local", "--dry-run"), 2, "--dry-run goes with --backend slurm"),
        (("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", "/a,b"), 2, "cannot carry ',' in it"),
        (("status", "nothing"), 2, "there is no run 'nothing'"),
        (("logs", "nothing"), 2, "there is no run 'nothing'"),
        (("cancel", "x" * 300), 2, "there is no run"),
        (("jobs", "copy", "mnist_cn"), 2, "did you mean mnist_cnn?"),
        (("jobs", "cpoy", "x"), 2, "No such command 'cpoy'"),
        (("cluster", "show", "mars"), 2, "profile 'mars' (a path to a file ends in .yaml); known are betzy"),
        (("cluster", "test", "--cluster", "local"), 2, "local names no container image, in which a job runs"),
        (("cluster", "test", "--only", "gpu"), 2, "there is no such promise; did you mean gpus?"),
        (("cluster", "test", "--wait-limit", "soon"), 2, "--wait-limit 'soon'"),
        (("data", "stage", "mine"), 2, "'mine' is not a known set; known are digits, mnist"),
        (("adopt", "nowhere.slurm"), 2, "there is no file 'nowhere.slurm'"),
        (("adopt", "nowhere"), 2, "there is no file 'nowhere'; expected a batch script"),
        (("adopt", "-"), 2, "write what comes from the pipe to a file"),
        (("check", "-"), 2, "write what comes from the pipe to a file"),
        (("adopt", "MNIST.slurm", "-o", "no/job.yaml"), 2, "there is no folder no, which --output no/job.yaml"),
        (("check", "one.slurm", "two.slurm"), 2, "Got unexpected extra argument (two.slurm) (one JOB at a time)"),
        (("cluster", "show", "none.yaml"), 2, "write one on a login node: hpcdl cluster discover -o mycluster.yaml"),
        (("cluster", "test", "marenostrum5"), 2, "(the profile follows --cluster)"),
        (("adopt", "job.yaml", "-o", "job.txt"), 2, "a job file ends in .yaml; got --output job.txt"),
        (("image", "inspect", "nowhere.sif"), 2, "cannot read the image nowhere.sif: No such file"),
        (("image", "inspect", __file__), 2, "is not a SIF image (it begins with"),
        (("shell", "nowhere"), 2, "there is no run 'nowhere'"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_mistake_gives_one_message(cli, tmp_path, monkeypatch, argv, code, part):
    monkeypatch.chdir(tmp_path)

    answer = cli(*argv)

    assert answer.code == code
    assert answer.out == ""
    assert part in answer.err
    assert "Traceback" not in answer.err
    assert os.listdir(tmp_path) == [], "nothing is created"


def test_missing_sbatch_exits_with_1(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    answer = cli("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs")

    assert (answer.code, answer.out) == (1, "")
    assert "there is no sbatch on this machine" in answer.err
    assert not (tmp_path / "runs").exists()


def test_unknown_bug_shows_traceback(monkeypatch):
    """A fault of hpcdl's own is not hidden behind one line."""
    monkeypatch.setattr(hpcdl.cli.options, "load", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        hpcdl.cli.main(["render", "mnist_cnn"])


# jobs, cluster


def test_jobs_listed(cli):
    lines = cli("jobs", "list").out.splitlines()

    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert "mnist_cnn           The course's CNN: two 5x5 convolutions, SGD, five epochs." in lines


@pytest.mark.parametrize(
    ("job", "module"), [("mnist_script", "MNIST.py"), ("imbalanced_mnist", "imbalanced.py")]
)
def test_job_copied_with_script_or_module(cli, tmp_path, job, module):
    answer = cli("jobs", "copy", job, tmp_path / "new")

    assert answer.out.splitlines() == [
        str(tmp_path / "new" / name) for name in (f"{job}.yaml", module)
    ]
    assert cli("render", tmp_path / "new" / f"{job}.yaml", *MARENOSTRUM).code == 0


def test_job_copied_with_packages(cli, tmp_path):
    answer = cli("jobs", "copy", "notebook", tmp_path)

    names = [Path(line).name for line in answer.out.splitlines()]
    assert sorted(names) == [
        *("jupyter_access.py", "jupyter_lab.py", "jupyter_notice.js", "jupyter_notice.py"),
        *("jupyter_page.py", "jupyter_ports.py", "jupyter_process.py"),
        *("jupyterlab.txt", "notebook.yaml"),
    ]


def test_profiles_listed_and_shown(cli):
    listed = cli("cluster", "list").out
    for name, path in built_in_profiles().items():
        assert f"\n{name} " in f"\n{listed}"
        assert cli("cluster", "show", name, "--raw").out == path.read_text()


def test_shown_profile_works_as_file(cli, tmp_path):
    (tmp_path / "mine.yaml").write_text(cli("cluster", "show", "marenostrum5").out)

    rendered = cli("render", "mnist_cnn", "--cluster", tmp_path / "mine.yaml", *ACCOUNT)

    assert rendered.out == cli("render", "mnist_cnn", *MARENOSTRUM).out


# render


def test_render_to_file(cli, tmp_path):
    answer = cli("render", "mnist_script", *MARENOSTRUM, "-o", tmp_path / "my.slurm")

    assert (answer.code, answer.out) == (0, "")
    text = (tmp_path / "my.slurm").read_text()
    assert "sbatch my.slurm" in text
    assert (
        text.replace("my.slurm", "MNIST.slurm") == cli("render", "mnist_script", *MARENOSTRUM).out
    )


def test_render_model_lists_its_needs(cli):
    assert (
        "it needs run.json and code/ next to it: hpcdl render -o DIR"
        in cli("render", "mnist_cnn", *MARENOSTRUM).out
    )


def test_render_to_folder(cli, tmp_path, monkeypatch):
    answer = cli("render", "mnist_cnn", *MARENOSTRUM, "-o", tmp_path / "out")

    assert (answer.code, answer.out) == (0, "")
    assert "submit it from there with: sbatch job.sbatch" in answer.err
    assert sorted(os.listdir(tmp_path / "out")) == ["code", "job.sbatch", "run.json"]
    assert os.listdir(tmp_path / "out" / "code") == ["hpcdl"]
    assert str(tmp_path) not in (tmp_path / "out" / "job.sbatch").read_text(), (
        "it can be moved anywhere"
    )


def test_render_script_to_folder(cli, write_job, tmp_path):
    path = write_job(
        "name: a\nscript: a.py\nfiles: [b.txt]\n", a__py="import c\n", c__py="", b__txt=""
    )

    cli("render", path, *MARENOSTRUM, "-o", f"{tmp_path}/out/")

    assert sorted(os.listdir(tmp_path / "out")) == [
        "a.py",
        "b.txt",
        "c.py",
        "hpcdl_support",
        "job.sbatch",
    ]
    text = (tmp_path / "out" / "job.sbatch").read_text()
    assert '"PYTHONPATH=$PWD/hpcdl_support"' in text
    assert "MPLBACKEND=module://hpcdl_support.figures" in text


def test_render_notebook_needs_folder(cli, write_job, tmp_path):
    path = write_job(
        "name: a\nscript: a.ipynb\n",
        a__ipynb='{"cells": [{"cell_type": "code", "source": "x = 1"}]}',
    )

    refused = cli("render", path, *MARENOSTRUM)
    written = cli("render", path, *MARENOSTRUM, "-o", tmp_path / "out")

    assert (refused.code, refused.out) == (2, "")
    assert "give -o DIR" in refused.err
    assert written.code == 0
    command = "    python hpcdl_support/run_notebook.py a.ipynb\n"
    assert command in (tmp_path / "out" / "job.sbatch").read_text()
    assert "x = 1" in (tmp_path / "out" / "a.ipynb").read_text()


def test_render_refuses_nonempty_folder(cli, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")

    answer = cli("render", "mnist_cnn", *MARENOSTRUM, "-o", tmp_path / "out")

    assert answer.code == 2
    assert "is there already and not empty" in answer.err
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("job", ["mnist_script", "mnist_cnn"])
def test_render_to_unwritable_place(cli, tmp_path, job):
    (tmp_path / "file").write_text("")

    answer = cli("render", job, *MARENOSTRUM, "-o", tmp_path / "file" / "x")

    assert answer.code == 2
    assert "cannot write" in answer.err


def test_render_in_hostile_folder(cli, hostile, monkeypatch):
    (hostile / "a.py").write_text("")
    (hostile / "job.yaml").write_text("name: a\nscript: a.py\n")
    monkeypatch.chdir(hostile)

    answer = cli("render", "job.yaml", *MARENOSTRUM)

    assert answer.code == 0
    assert subprocess.run(["bash", "-n"], input=answer.out, text=True).returncode == 0
    assert sorted(os.listdir(hostile)) == ["a.py", "job.yaml"]


# submit --dry-run


def test_dry_run_prints_and_creates_nothing(cli, tmp_path):
    answer = cli("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs", "--dry-run")

    assert answer.code == 0
    assert answer.err.startswith("mnist_cnn: using the job that ships with hpcdl")
    assert answer.err.count("\n") == 1
    assert answer.out.startswith("#!/bin/bash\n")
    assert "-m hpcdl.worker" in answer.out
    assert f"#SBATCH --chdir={tmp_path}/runs/mnist-cnn/" in answer.out
    assert os.listdir(tmp_path) == []


def test_dry_run_mentions_emulated_gpus(cli, tmp_path):
    profile = Path(__file__).parents[1] / "testbed" / "testbed.yaml"

    answer = cli("submit", "mnist_cnn", "--cluster", profile, "--runs-dir", tmp_path, "--dry-run")

    assert (
        answer.err.splitlines(keepends=True)[-1]
        == "EMULATED GPUs: 1 asked for, CPU devices stand in (profile testbed)\n"
    )
    assert "--nv" not in answer.out


def test_dry_run_equals_submission(cli, tmp_path, monkeypatch):
    """An sbatch first on PATH keeps the file it is given: a real program, as SLURM's own would be."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text(
        '#!/bin/sh\nfor last; do :; done\ncp "$last" "$0.got"; env > "$0.env"; echo "77;cluster"\n'
    )
    (fake / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    for name in (
        "SLURM_JOB_ID",
        "SBATCH_PARTITION",
        "CUDA_VISIBLE_DEVICES",
        "TF_CONFIG",
        "LD_LIBRARY_PATH",
        "CONDA_PREFIX",
    ):
        monkeypatch.setenv(name, "leaks")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setattr("hpcdl.submission.create.secrets.choice", lambda letters: letters[0])
    monkeypatch.setattr("hpcdl.submission.create.time.strftime", lambda *_: "20260101-1200")
    argv = ("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs")

    dry = cli(*argv, "--dry-run")
    sent = cli(*argv, "--no-check")

    run = tmp_path / "runs" / "mnist-cnn" / "20260101-1200-aaaa"
    assert (sent.code, sent.out) == (0, f"{run}\n")
    assert "submitted as job 77 on marenostrum5" in sent.err
    assert (fake / "sbatch.got").read_text() == dry.out == (run / "script.sbatch").read_text()
    inherited = dict(
        line.split("=", 1) for line in (fake / "sbatch.env").read_text().splitlines() if "=" in line
    )
    assert inherited["SLURM_CONF"] == "/etc/slurm.conf"
    assert "leaks" not in inherited.values()
    assert inherited["HOME"] == os.environ["HOME"]


def test_refused_submission_shows_reason(cli, tmp_path, monkeypatch):
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: Invalid qos specification' >&2\nexit 1\n"
    )
    (fake / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")

    answer = cli("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs", "--no-check")
    status = cli("status", "--runs-dir", tmp_path / "runs")

    assert (answer.code, answer.out) == (1, "")
    assert "hpcdl: sbatch failed (exit 1): sbatch: error: Invalid qos specification" in answer.err
    assert "created" in status.out
    assert "it was never submitted" in status.out


# Pipes


def test_closed_pipe_gives_no_error(program):
    """`hpcdl ... | head -1`: quiet, whatever was left to write."""
    with subprocess.Popen(
        [*program, "render", "mnist_script", *MARENOSTRUM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said.count(b"\n") == 1, "which job it is, and no more"
    assert process.returncode in (0, 1)


@pytest.mark.cases("F15")
def test_status_of_ambiguous_run_name(cli, tmp_path, monkeypatch):
    """It shows all of them, which says more than that there are several."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text("#!/bin/sh\nexit 1\n")
    (fake / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    for _ in range(2):
        cli("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs", "--no-check")

    status = cli("status", "mnist-cnn", "--runs-dir", tmp_path / "runs")
    assert (status.code, status.err) == (0, "'mnist-cnn' fits 2 runs\n")
    assert [line.split("/")[0] for line in status.out.splitlines()[1:]] == [
        "mnist-cnn",
        "mnist-cnn",
    ]
    assert cli("logs", "mnist-cnn", "--runs-dir", tmp_path / "runs").code == 2


@pytest.mark.cases("F8")
def test_submit_needs_no_srun(cli, tmp_path, monkeypatch):
    """Some login nodes have sbatch alone; submitit would end in a traceback there."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text("#!/bin/sh\necho 77\n")
    (fake / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(fake))

    answer = cli("submit", "mnist_cnn", *MARENOSTRUM, "--runs-dir", tmp_path / "runs", "--no-check")
    assert "submitted as job 77" in answer.err and answer.code == 0
