"""What a newcomer types in the first hour, right or wrong."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
from pathlib import Path

import pytest

from hpcdl.job import load_job
from hpcdl.run import runs_below
from hpcdl.run.waiting import waiting_note
from hpcdl.staging import how_to_stage
from hpcdl.usercode.user_files import user_files

SCRIPT = "import sys\nprint('arguments', sys.argv[1:])\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_run(folder):
    """Makes a run's folder: its name, its id, and what its files say."""

    def make(name, run_id, state="done", created=None, cause=None, attempts=1, total_s=60.0):
        root = folder / "runs" / name / run_id
        root.mkdir(parents=True)
        at = time.time() if created is None else created
        (root / "manifest.json").write_text(json.dumps({"created": at}))
        (root / "plan.json").write_text("{}")
        (root / "submitted.json").write_text(
            json.dumps({"backend": "slurm", "job_id": "7", "time": at})
        )
        rows = []
        for number in range(1, attempts + 1):
            begun = at + number * 100
            row = {"attempt": number, "node": "n", "reason": state}
            rows += [
                {**row, "event": "start", "time": begun},
                {**row, "event": "end", "time": begun + 30},
            ]
        (root / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = {"state": state, "cause": cause, "timing": {"total_s": total_s}}
        (root / "result.json").write_text(json.dumps(result))
        return root

    return make


# A script instead of a job file


@pytest.mark.cases("F15")
def test_script_runs_with_its_arguments(hpcdl_process, folder):
    (folder / "My script.py").write_text(SCRIPT)

    answer = hpcdl_process(
        "submit", "My script.py", "--backend", "local", "--gpus", "0", "--time", "00:05:00", "--runs-dir", "runs",
        "--wait", "--", "--epochs", "5", "a b", cwd=folder,
    )  # fmt: skip

    assert answer.code == 0, answer.err
    assert "My script.py: running the script as job My-script with 0 GPUs, 00:05:00" in answer.err
    run = Path(answer.out.strip())
    assert run.parent.name == "My-script"
    assert "arguments ['--epochs', '5', 'a b']" in (run / "logs" / "1.log").read_text()
    frozen = (run / "job.yaml").read_text()
    for line in ("name: My-script", "time: 00:05:00", "gpus: 0", "- --epochs"):
        assert line in frozen


@pytest.mark.cases("F15")
@pytest.mark.parametrize("command", [("render",), ("submit", "--dry-run"), ("check",)])
def test_script_goes_with_each_command(cli, folder, command):
    (folder / "MNIST.py").write_text(SCRIPT)

    answer = cli(
        *command, "MNIST.py", "-c", "generic", "--gpus", "1", "--time", "00:20:00", "--", "-v"
    )

    assert "running the script as job MNIST with 1 GPU, 00:20:00" in answer.err
    if command != ("check",):
        assert "#SBATCH --time=00:20:00" in answer.out
    if command == ("render",):
        assert "MNIST.py -v" in answer.out


@pytest.mark.cases("F15")
def test_size_options_go_with_job_files(cli, folder):
    answer = cli("render", "mnist_script", "-c", "generic", "--time", "03:00:00", "--gpus", "0")

    assert "#SBATCH --time=03:00:00" in answer.out
    assert "gpus" not in answer.out.partition("# Software")[0].replace("0 GPUs", "")


@pytest.mark.cases("F15")
@pytest.mark.parametrize("words", [("--epochs", "5"), ("more.py",), ("5",)])
def test_forgotten_dashes_are_reported(cli, folder, words):
    (folder / "MNIST.py").write_text(SCRIPT)

    answer = cli("submit", "MNIST.py", *words)

    assert answer.code == 2
    assert "a script's own arguments follow --: MNIST.py -- ARG..." in answer.err


@pytest.mark.cases("F15")
@pytest.mark.parametrize("time_limit", ["5", "1h", "00:00:00"])
def test_bad_time_is_reported(cli, folder, time_limit):
    (folder / "MNIST.py").write_text(SCRIPT)

    answer = cli("render", "MNIST.py", "-c", "generic", "--time", time_limit)

    assert answer.code == 2
    assert "resources.time" in answer.err


# jobs copy


@pytest.mark.cases("F16")
def test_job_copy_keeps_own_script(cli, folder):
    (folder / "MNIST.py").write_text("mine")

    answer = cli("jobs", "copy", "mnist_script")

    assert (answer.code, answer.out) == (0, "mnist_script.yaml\n")
    assert "MNIST.py exists already and stays as it is: mnist_script.yaml runs yours" in answer.err
    assert (folder / "MNIST.py").read_text() == "mine"


@pytest.mark.cases("F16")
def test_job_copy_keeps_own_job(cli, folder):
    (folder / "mnist_script.yaml").write_text("mine")

    answer = cli("jobs", "copy", "mnist_script")

    assert answer.code == 2
    assert "mnist_script.yaml exists already" in answer.err
    assert os.listdir(folder) == ["mnist_script.yaml"]


@pytest.mark.cases("F16")
def test_job_copy_takes_shipped_ones_only(cli, folder):
    """A file or folder here that is called alike is not what is copied."""
    (folder / "mnist_cnn").write_text("mine")

    answer = cli("jobs", "copy", "mnist_cnn.yaml")

    assert answer.out == "mnist_cnn.yaml\n"
    assert "cnn" in (folder / "mnist_cnn.yaml").read_text()


# Which cluster


@pytest.mark.cases("F19")
@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("result", "k3f9"),
        ("data", "list"),
        ("check", "mnist_cnn"),
        ("cluster", "show"),
        ("status", "a"),
    ],
)
def test_variable_with_missing_profile_fails(cli, folder, monkeypatch, command):
    """HPCDL_CLUSTER with a missing profile is an error, not ignored."""
    monkeypatch.setenv("HPCDL_CLUSTER", "nothere.yaml")

    answer = cli(*command)

    assert (answer.code, answer.out) == (2, "")
    assert "cannot read the cluster profile nothere.yaml" in answer.err
    assert "export HPCDL_CLUSTER=/whole/path/nothere.yaml, or keep it with hpcdl init" in answer.err


@pytest.mark.cases("F19")
def test_misspelt_variable_is_an_error(cli, folder, monkeypatch):
    monkeypatch.setenv("HPCDL_CLUSTER", "genric")

    answer = cli("status")

    assert answer.code == 2
    assert "there is no cluster profile 'genric'" in answer.err
    assert "did you mean generic?; HPCDL_CLUSTER names it" in answer.err


@pytest.mark.cases("F19")
def test_relative_variable_gets_advice(cli, folder, monkeypatch):
    """It works where the file is, and is another file elsewhere."""
    (folder / "my.yaml").write_text(
        "name: mine\nnode: {cpus: 1, gpus: 0}\nimages: {tensorflow: /a.sif}\n"
    )
    monkeypatch.setenv("HPCDL_CLUSTER", "my.yaml")

    answer = cli("render", "mnist_script", "--gpus", "0")

    assert answer.code == 0
    assert f"better: export HPCDL_CLUSTER={folder}/my.yaml" in answer.err


@pytest.mark.cases("F13", "F19")
def test_local_backend_names_its_profile(cli, folder, monkeypatch):
    """It takes the profile `local` whatever else is named: its data and runs lie elsewhere."""
    monkeypatch.setenv("HPCDL_CLUSTER", "generic")

    named = cli("check", "digits_cnn", "--backend", "local")
    chosen = cli("check", "digits_cnn", "--backend", "local", "-c", "local")

    assert "uses the profile local, not generic; --cluster generic uses that one" in named.err
    assert "uses the profile" not in chosen.err


@pytest.mark.cases("F19")
@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable_is_not_set(cli, folder, monkeypatch, value):
    monkeypatch.setenv("HPCDL_CLUSTER", value)

    assert cli("status").err.startswith("there are no runs yet under ")


@pytest.mark.cases("F19")
@pytest.mark.parametrize("option", ["--cluster", "--runs-dir"])
def test_empty_option_is_an_error(cli, folder, option):
    """`--cluster "$SITE"` without a SITE must not mean the default."""
    answer = cli("status", option, "")

    assert answer.code == 2
    assert "is a shell variable not set?" in answer.err


@pytest.mark.cases("F19")
def test_status_reports_wrong_settings(cli, folder):
    (folder / "hpcdl.yaml").write_text("cluster: nowhere\n")

    for command in (("status",), ("data", "list")):
        answer = cli(*command)
        assert answer.code == 2
        assert "hpcdl.yaml:1: cluster" in answer.err


@pytest.mark.cases("F3")
def test_profile_named_like_file_is_reported(cli, folder):
    (folder / "generic.yaml").write_text("name: mine\n")

    answer = cli("render", "mnist_script", "-c", "generic")

    assert answer.code == 0
    assert (
        "generic: using the built-in profile; for the file in this folder: --cluster ./generic.yaml"
        in answer.err
    )


@pytest.mark.cases("F3")
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("mysite", "did you mean mysite.yaml?"),
        ("marenostrum5.yaml", "is called marenostrum5: --cluster marenostrum5"),
    ],
)
def test_missing_profile_suggests_similar_name(cli, folder, given, meant):
    (folder / "mysite.yaml").write_text("name: mine\n")

    assert meant in cli("cluster", "show", given).err


@pytest.mark.cases("F23")
def test_init_does_not_advise_itself(cli, folder, monkeypatch):
    monkeypatch.setattr("socket.getfqdn", lambda: "laptop")

    answer = cli("init", "--yes")

    assert answer.code == 2
    assert "hpcdl init --cluster NAME or FILE" in answer.err
    assert "keep one with hpcdl init" not in answer.err
    assert "hpcdl cluster discover" in answer.err


# Which run


@pytest.mark.cases("F23")
def test_full_name_beats_part(cli, make_run):
    make_run("mnist-cnn", "20260101-1200-aaaa")
    make_run("mnist-cnn-improved", "20260101-1201-bbbb")

    assert "mnist-cnn/20260101-1200-aaaa" in cli("result", "mnist-cnn").out
    assert "mnist-cnn-improved" in cli("result", "mnist-cnn-i").out


@pytest.mark.cases("F23")
def test_empty_run_is_never_this_folder(cli, make_run, monkeypatch):
    """`hpcdl cancel "$RUN"` in a run's folder, without a RUN."""
    monkeypatch.chdir(make_run("a", "20260101-1200-aaaa"))

    for command in ("cancel", "result", "logs", "resume"):
        answer = cli(command, "")
        assert answer.code == 2
        assert "is a shell variable not set?" in answer.err


@pytest.mark.cases("F23")
def test_wrong_run_path_has_remedy(cli, folder, make_run):
    """The message tells a file inside a run, a folder above it and a missing folder apart."""
    run = make_run("a", "20260101-1200-aaaa")

    inside = cli("result", run / "result.json")
    above = cli("result", "./runs/a")
    missing = cli("result", "./runs/b")

    assert f"give the run's folder: {run}" in inside.err
    assert "is a folder, but not a run's folder" in above.err
    assert "such as runs/a/20260101-1200-aaaa" in above.err
    assert "there is no run folder ./runs/b" in missing.err
    assert {inside.code, above.code, missing.code} == {2}


# status


@pytest.mark.cases("F23")
def test_status_sorts_by_time(cli, make_run):
    """Within a minute the ids' letters are random: the newest comes last all the same."""
    now = time.time()
    make_run("b", "20260101-1200-zzzz", created=now - 30)
    make_run("a", "20260101-1200-aaaa", created=now - 10)
    make_run("c", "renamed", created=now - 20)

    lines = cli("status").out.splitlines()[1:]

    assert [line.split()[0].partition("/")[0] for line in lines] == ["b", "c", "a"]


@pytest.mark.cases("F23")
def test_status_filters(cli, make_run):
    now = time.time()
    make_run("mnist-cnn", "20260101-1200-aaaa", created=now - 3 * 86400)
    make_run("mnist-mlp", "20260101-1201-bbbb", "failed", created=now - 3600, cause="data")
    make_run("photos", "20260101-1202-cccc", "failed", created=now, cause="data")

    def shown(*words):
        return [line.split("/")[0] for line in cli("status", *words).out.splitlines()[1:]]

    assert shown("--state", "failed") == ["mnist-mlp", "photos"]
    assert shown("--state", "done", "--state", "lost") == ["mnist-cnn"]
    assert shown("mnist*") == ["mnist-cnn", "mnist-mlp"]
    assert shown("--name", "photos") == ["photos"]
    assert shown("*1201*") == ["mnist-mlp"]
    assert shown("--since", "2h") == ["mnist-mlp", "photos"]
    assert shown("--since", "2d", "--state", "failed", "m*") == ["mnist-mlp"]
    assert cli("status", "--state", "lost").err == "no run fits; hpcdl status --all shows all\n"
    assert "expected an age as 30m, 12h, 2d or 3w" in cli("status", "--since", "yesterday").err
    assert "'broken' is not one of" in cli("status", "--state", "broken").err


@pytest.mark.cases("F23")
def test_status_shows_all_when_asked(cli, make_run):
    for number in range(28):
        make_run("a", f"20260101-12{number:02}-aaaa", created=1e9 + number)

    some, every = cli("status"), cli("status", "--all")

    assert some.err == "(8 older runs are not shown; hpcdl status --all)\n"
    assert len(some.out.splitlines()) == 21
    assert len(every.out.splitlines()) == 29
    assert len(json.loads(cli("status", "--all", "--json").out)) == 28
    named = [run.name for run in runs_below([Path("runs")])]
    assert len(json.loads(cli("status", *named, "--json").out)) == 28, (
        "who names runs gets them all"
    )


@pytest.mark.cases("F23")
def test_moved_runs_are_found(cli, make_run, folder):
    """A run's folder can be moved: the folder it is in is a --runs-dir, and the run's own files are no runs."""
    run = make_run("a", "20260101-1200-aaaa")
    (run / "user").mkdir()
    (run / "user" / "manifest.json").write_text("{}")
    (folder / "archive").mkdir()
    run.rename(folder / "archive" / "prepared")

    lines = cli("status", "--runs-dir", "archive").out.splitlines()

    assert [line.split()[0] for line in lines] == ["RUN", "archive/prepared"]
    assert cli("result", "prepared", "--runs-dir", "archive").code == 0


@pytest.mark.cases("F23")
def test_empty_status_names_runs_folder(cli, folder):
    answer = cli("status", "--runs-dir", "elsewhere")

    assert f"there are no runs yet under {folder}/elsewhere or" in answer.err


@pytest.mark.cases("F23")
def test_both_clocks_are_shown(cli, make_run):
    """With waits between the attempts, `done in` and ELAPSED differ: the result says both."""
    run = make_run("a", "20260101-1200-aaaa", attempts=3, total_s=90.0)

    assert cli("result", run).out.startswith("done in 1:30 (3:50 with the waits between attempts)")
    assert "3:50" in cli("status", run).out


@pytest.mark.cases("F23")
@pytest.mark.parametrize(
    ("reason", "note"),
    [
        ("Priority", "Priority"),
        ("Dependency", "Dependency: it waits for another job"),
        (
            "DependencyNeverSatisfied",
            "DependencyNeverSatisfied: it will never start; hpcdl cancel RUN",
        ),
        ("JobHeldUser", "JobHeldUser: it is held; scontrol release 77"),
        ("QOSMaxWallDurationPerJobLimit", "asks for more than is allowed; hpcdl cancel RUN"),
        ("QOSMaxJobsPerUserLimit", "your other jobs, or your group's, have all that is allowed"),
        ("PartitionTimeLimit", "asks for more than is allowed"),
    ],
)
def test_waiting_reason_has_hint(reason, note):
    assert note in waiting_note(reason, "", "77")


@pytest.mark.cases("F23")
def test_expected_start_comes_from_slurm():
    assert waiting_note("Priority", "2026-01-01T14:05:00", "7").endswith(
        "about 2026-01-01 14:05:00 (SLURM's estimate)"
    )


# What is not installed, and not writable


@pytest.mark.cases("F13")
def test_local_without_tensorflow_is_refused(cli, folder, monkeypatch):
    """At once, with the remedy, and nothing is made; `check` says the same."""
    monkeypatch.setattr("hpcdl.preflight.thispython.find_spec", lambda name: None)

    for command in (("submit", "--wait"), ("check",)):
        answer = cli(*command, "digits_cnn", "--backend", "local", "--runs-dir", "runs")
        assert answer.code == 2
        assert f"{sys.executable} -m pip install tensorflow" in answer.out + answer.err
        assert "hpcdl[" not in answer.out + answer.err
        assert not (folder / "runs").exists()


@pytest.mark.tensorflow
@pytest.mark.cases("fault 1")
@pytest.mark.parametrize("of_shell", [False, True], ids=["job", "shell"])
def test_local_variable_needs_tf_keras(cli, folder, monkeypatch, of_shell):
    """This Python has TensorFlow and no tf-keras; the run would inherit the shell's variables."""
    asks = ["--set", 'env={TF_USE_LEGACY_KERAS: "1"}']
    if of_shell:
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
        asks = []
    for command in (("submit", "--wait"), ("check",)):
        answer = cli(*command, "digits_cnn", "--backend", "local", "--runs-dir", "runs", *asks)
        assert answer.code == 2
        assert "TF_USE_LEGACY_KERAS asks for tf-keras, which" in answer.out + answer.err
        assert re.search(r"pip install 'tf-keras==2\.\d+\.\*'", answer.out + answer.err)
        assert not (folder / "runs").exists()
    (folder / "plain.py").write_text("print(1)\n")  # it takes nothing of tf.keras
    assert (
        cli(
            "check", "plain.py", "--gpus", "0", "--time", "00:05:00", "--backend", "local", *asks
        ).code
        == 0
    )


@pytest.mark.cases("F13")
@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import no_such_module\n", 2),
        ("def later():\n    import no_such_module\n", 0),
        ("try:\n    import no_such_module\nexcept ImportError:\n    pass\n", 0),
        ("print(1)\n", 0),
        ("print 1\n", 2),
    ],
)
def test_local_script_needs_its_imports(cli, folder, source, code):
    (folder / "a.py").write_text(source)

    answer = cli("check", "a.py", "--backend", "local", "--gpus", "0", "--runs-dir", "runs")

    assert answer.code == code
    assert "data_root" not in answer.out  # not there, and not needed


@pytest.mark.cases("F1")
def test_local_notebook_accepts_await(cli, folder):
    """`await` at a cell's top level is no mistake in a notebook, and one in a script."""
    cell = {"cell_type": "code", "source": "import asyncio\nawait asyncio.sleep(0)"}
    (folder / "a.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    (folder / "b.py").write_text(cell["source"])

    assert (
        cli("check", "a.ipynb", "--backend", "local", "--gpus", "0", "--runs-dir", "runs").code == 0
    )
    assert cli("check", "b.py", "--backend", "local", "--gpus", "0", "--runs-dir", "runs").code == 2


SIF = bytes(32) + b"SIF_MAGIC\0" + bytes(70) + struct.pack("<qq", 128, 72)  # its data end at 200
RUNTIME = """#!/bin/bash
echo container >>"$(dirname "$0")/started"
while [ "$1" != "$(dirname "$0")/tf.sif" ]; do shift; done
shift
exec "$@"
"""


@pytest.mark.cases("F13")
@pytest.mark.parametrize("module", ["tool", "broken"])
def test_local_run_loads_the_profiles_modules(hpcdl_process, folder, module):
    """The container command comes with a module: a local run has it too, and where it cannot, says why."""
    (folder / "bin").mkdir()
    (folder / "bin" / "myrun").write_text(RUNTIME)
    (folder / "bin" / "myrun").chmod(0o755)
    (folder / "bin" / "tf.sif").write_bytes(SIF + bytes(200 - len(SIF)))
    load = f'[ "$1" = purge ] || {{ [ "$2" = tool ] && PATH="{folder}/bin:$PATH"; }}'
    (folder / "init.sh").write_text(
        f'module() {{ {load} || {{ echo "no module $2" >&2; return 1; }}; }}\n'
    )
    profile = ["name: here", "node: {cpus: 4, gpus: 0}", "runtime: myrun", f"modules: [{module}]"]
    profile += [
        f"module_init: {folder}/init.sh",
        f"data_root: {folder}",
        f"runs_root: {folder}/runs",
    ]
    profile += [f"images: {{tensorflow: {{path: {folder}/bin/tf.sif, python: {sys.executable}}}}}"]
    (folder / "site.yaml").write_text("\n".join(profile) + "\n")
    (folder / "a.py").write_text(SCRIPT)

    answer = hpcdl_process(
        "submit",
        "a.py",
        "--backend",
        "local",
        "--gpus",
        "0",
        "-c",
        "site.yaml",
        "--wait",
        cwd=folder,
    )

    assert answer.code == 0, answer.err
    assert (folder / "bin" / "started").exists() == (module == "tool")
    told = (
        "the profile's modules cannot be loaded: no module broken: running with this machine's own"
    )
    assert (told in answer.err) == (module == "broken")


@pytest.mark.cases("F13")
def test_check_on_local_profile_suggests_next(cli, folder):
    answer = cli("check", "digits_cnn", "-c", "local")

    assert answer.code == 2
    assert "choose another --cluster, or --backend local" in answer.err
    assert cli("check", "--backend", "local", "--help").code == 0


@pytest.mark.cases("F23")
def test_pack_lists_all_missing_packages(cli, folder, monkeypatch):
    for name in ("PIL", "PIL.Image", "google_crc32c"):
        monkeypatch.setitem(sys.modules, name, None)

    answer = cli("data", "pack", folder)

    assert answer.code == 2
    assert "pillow and google-crc32c are needed and not installed" in answer.err
    assert "-m pip install pillow google-crc32c" in answer.err


@pytest.mark.cases("F23")
def test_staging_elsewhere_needs_its_owner(monkeypatch):
    monkeypatch.setattr("hpcdl.staging.os.access", lambda *_: False)

    how = how_to_stage("mnist", "/gpfs/data")

    assert how.startswith("you cannot write in /")
    assert ", which is root's: ask them to stage it (" in how
    assert "--set cluster.data_root=DIR" in how


def notebook(*cells):
    rows = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": rows, "metadata": {}, "nbformat": 4})


@pytest.mark.cases("F1", "F13", "F14", "C4")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (notebook("x = 1\n%%time\nx = 2"), "nb.ipynb, cell 1, line 2: %%time begins a cell"),
        (notebook("%%R\nx"), "nb.ipynb, cell 1, line 1: %%R is not known"),
        (
            notebook("name = input('?')"),
            "nb.ipynb, cell 1, line 1: input() has nobody to answer it",
        ),
        (notebook("x = ["), "nb.ipynb, cell 1 does not compile"),
        pytest.param(
            notebook("import google.colab.drive"),
            "imports google.colab.drive",
            marks=pytest.mark.tensorflow,  # which brings a package google
        ),
        (notebook(" "), "all its code cells are empty"),
        ("{}", "is not a Jupyter notebook: it has no 'cells'"),
        ("no JSON", "is not a Jupyter notebook"),
        (notebook("%%time\nawait f()"), None),
        (notebook("%%html\nx"), "nb.ipynb, cell 1, line 1: the cell %%html is left out"),
    ],
)
def test_local_check_reads_the_notebook(cli, folder, text, words):
    """`check --backend local` refuses what `submit` would refuse, and says what is left out."""
    (folder / "nb.ipynb").write_text(text)

    answer = cli("check", "nb.ipynb", "--backend", "local", "--gpus", "0")

    assert answer.code == (0 if words is None or "left out" in words else 2)
    assert (words or "could run") in answer.out


@pytest.mark.cases("F1", "F10")
@pytest.mark.parametrize(
    ("head", "code", "words"),
    [
        (b"\xef\xbb\xbf", 0, "could run"),
        ("# -*- coding: latin-1 -*-\n# grün\n".encode("latin-1"), 0, "could run"),
        (
            "# grün\n".encode("latin-1"),
            2,
            "a.py cannot be decoded by Python: line 1 has bytes that are not utf-8",
        ),
        ("x = 1\n\n\n# grün\n".encode("latin-1"), 2, "line 4 has bytes that are not utf-8"),
        ("x = 1\n".encode("utf-16"), 2, "a.py cannot be decoded by Python: it is UTF-16"),
    ],
    ids=["windows", "named", "not-named", "later", "utf-16"],
)
def test_script_in_another_encoding(cli, folder, head, code, words):
    """What Python runs is run, with the modules beside it; what Python refuses is refused at once."""
    (folder / "a.py").write_bytes(head + b"import beside\r\n")
    (folder / "beside.py").write_bytes(b"\xef\xbb\xbfimport json\r\n")

    answer = cli("check", "a.py", "--backend", "local", "--gpus", "0")

    assert answer.code == code, answer
    assert words in answer.out
    assert list(user_files(load_job("a.py")))[1:] == (
        [] if b"\0" in head else [folder / "beside.py"]
    )


@pytest.mark.cases("F1")
def test_requirements_from_windows(cli, folder):
    (folder / "requirements.txt").write_bytes(b"\xef\xbb\xbfpandas\r\n")
    (folder / "a.py").write_text("print(1)")
    (folder / "a.yaml").write_text(
        "script: a.py\npackages: requirements.txt\nresources: {gpus: 0}\nname: a\n"
    )

    assert cli("check", "a.yaml", "--backend", "local").code == 0


@pytest.mark.cases("F13", "F20")
def test_failed_local_script(cli, hpcdl_process, folder):
    """What to try names no container where there was none; two streams at once are refused, not one dropped."""
    (folder / "a.py").write_text(
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)\n"
    )

    assert (
        hpcdl_process(
            "submit", "a.py", "--backend", "local", "--gpus", "0", "--wait", cwd=folder
        ).code
        == 1
    )
    tried = cli("result", "a").out
    both = cli("logs", "a", "--stdout", "--stderr")

    assert "hpcdl logs" in tried
    assert "shell" not in tried
    assert both.code == 2
    assert "choose one of --stdout, --stderr and --tensorflow" in both.err
    assert [cli("logs", "a", option).out for option in ("--stdout", "--stderr")] == [
        "out\n",
        "err\n",
    ]
