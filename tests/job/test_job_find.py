"""Which file a JOB means, and what is said of files that are no jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcdl.errors import JobError, UserError
from hpcdl.job import find_job, load_job
from hpcdl.job.names import NAME, job_name

SCRIPT = "import sys\nprint(sys.argv)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.cases("F3")
@pytest.mark.parametrize(
    "name",
    [
        "mnist_cnn.yaml",
        "./mnist_cnn.yaml",
        "jobs/mnist_cnn.yaml",
        "mnist_cnn.yml",
        "../jobs/mnist_cnn",
    ],
)
def test_file_name_never_means_shipped(folder, name):
    """With an ending or a folder it is that file, or an error that tells of the shipped job."""
    (folder / "jobs").mkdir()

    with pytest.raises(UserError, match="there is no job file") as caught:
        load_job(name)

    assert name.endswith("jobs/mnist_cnn") or "hpcdl jobs copy mnist_cnn" in str(caught.value)


@pytest.mark.cases("F3")
@pytest.mark.parametrize(
    ("given", "there", "meant"),
    [
        ("mnist_cnn.yaml", "course/mnist_cnn.yaml", "did you mean course/mnist_cnn.yaml?"),
        ("tarin.yaml", "train.yaml", "did you mean train.yaml?"),
        ("course/tarin.yaml", "course/train.yaml", "did you mean course/train.yaml?"),
        ("train.yaml", "train.yml", "did you mean train.yml?"),
        ("MNIST", "MNIST.py", "did you mean MNIST.py?"),
        ("MNIST.slrm", "MNIST.slurm", "there is no file 'MNIST.slrm'; did you mean MNIST.slurm?"),
        ("MNSIT.py", "MNIST.py", "there is no file 'MNSIT.py'; did you mean MNIST.py?"),
        ("nowhere/a.yaml", "a.yaml", "there is no folder nowhere"),
    ],
)
def test_missing_job_suggests_similar_name(folder, given, there, meant):
    (folder / there).parent.mkdir(exist_ok=True)
    (folder / there).write_text("")

    with pytest.raises(UserError) as caught:
        find_job(given)

    assert meant in str(caught.value)


@pytest.mark.cases("F3")
def test_dangling_job_link_is_reported(folder):
    (folder / "job.yaml").symlink_to("elsewhere.yaml")

    with pytest.raises(
        UserError, match=r"job\.yaml is a link to elsewhere\.yaml, which is not there"
    ):
        find_job("job.yaml")


@pytest.mark.cases("F3")
def test_shipped_job_is_announced(cli, folder):
    answer = cli("render", "mnist_script", "-c", "generic")

    assert answer.code == 0
    assert answer.err.startswith(
        "mnist_script: using the job that ships with hpcdl (hpcdl jobs copy mnist_script"
    )


@pytest.mark.cases("F3")
def test_bare_name_takes_local_file(cli, folder):
    """The user's own mnist_cnn.yaml wins over the shipped job, and it is said."""
    (folder / "a.py").write_text(SCRIPT)
    (folder / "mnist_cnn.yaml").write_text("name: mine\nscript: a.py\n")

    answer = cli("render", "mnist_cnn", "-c", "generic", "--gpus", "0")

    assert "#SBATCH --job-name=mine" in answer.out
    assert (
        answer.err
        == "mnist_cnn: using mnist_cnn.yaml in this folder, not the shipped job of that name\n"
    )


@pytest.mark.cases("F3")
def test_ambiguous_job_file_is_refused(folder):
    for name in ("train.yaml", "train.yml"):
        (folder / name).write_text("")

    with pytest.raises(UserError, match=r"train is train\.yaml or train\.yml"):
        find_job("train")


@pytest.mark.cases("F3")
def test_folder_of_a_shipped_name_refused(folder):
    (folder / "mnist_cnn").mkdir()
    (folder / "mnist_cnn" / "my.yaml").write_text("")

    with pytest.raises(UserError) as caught:
        find_job("mnist_cnn")

    assert "did you mean mnist_cnn/my.yaml?" in str(caught.value)
    assert "hpcdl jobs copy mnist_cnn" in str(caught.value)


@pytest.mark.cases("F3")
@pytest.mark.parametrize("name", ["", "  "])
def test_empty_job_name_means_unset_variable(folder, name):
    with pytest.raises(UserError, match="is a shell variable not set"):
        load_job(name)


# A script as a job


@pytest.mark.cases("F15")
def test_script_is_a_job(folder):
    (folder / "My MNIST (2).py").write_text(SCRIPT)

    job = load_job("My MNIST (2).py", ["resources.gpus=2"], ["--epochs", "5"])

    assert (job.name, job.script, job.folder) == (
        "My-MNIST-2",
        str(folder / "My MNIST (2).py"),
        str(folder),
    )
    assert (job.resources.gpus, job.resources.time, job.args) == (2, "01:00:00", ["--epochs", "5"])


@pytest.mark.cases("F15")
@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("MNIST", "MNIST"),
        ("Übung 8", "Ubung-8"),
        ("_draft", "draft"),
        ("手書き", "script"),
        ("x" * 300, "x" * 100),
    ],
)
def test_job_name_is_valid(stem, name):
    assert job_name(stem) == name
    assert NAME.fullmatch(name)


@pytest.mark.cases("F15")
def test_arguments_of_job_file_refused(folder):
    (folder / "a.py").write_text(SCRIPT)
    (folder / "job.yaml").write_text("name: a\nscript: a.py\n")

    with pytest.raises(UserError) as caught:
        load_job("job.yaml", args=["--lr", "0.1"])

    assert """--set 'args=["--lr", "0.1"]'""" in str(caught.value)
    assert load_job("job.yaml", ['args=["--lr", "0.1"]']).args == ["--lr", "0.1"]


# What is no job


@pytest.mark.cases("F15")
def test_batch_script_is_shown_its_commands(folder):
    """Which commands take it as it is; tests/adopt runs them."""
    (folder / "my job.slurm").write_text("#!/bin/bash\n#SBATCH --gpus=1\npython a.py\n")

    with pytest.raises(UserError) as caught:
        load_job("my job.slurm")

    text = str(caught.value)
    assert "hpcdl check 'my job.slurm'" in text
    assert "hpcdl adopt 'my job.slurm' -o my-job.yaml" in text


@pytest.mark.cases("F15")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.sh", b"echo hello\n", "run.sh is a batch script"),
        (
            "train",
            b"#!/usr/bin/env python3\nprint(1)\n",
            "its name must end in .py: mv ./train ./train.py",
        ),
        ("job.docx", b"PK\x03\x04 and more", "document of a word processor"),
        ("job.yaml", b"{\\rtf1 name: a}", "document of a word processor"),
        ("job.pdf", b"%PDF-1.7", "PDF document"),
        ("data.npz", b"PK\x03\x04", "data: {path: data.npz}"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("tf.sif", b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0", "container: tf.sif"),
        ("tool", b"\x7fELF\0\0\0\0\0", "not a text file"),
        (
            "site.yaml",
            b"name: zz\nnode: {cpus: 1, gpus: 0}\n",
            "is a cluster profile, not a job file",
        ),
        ("big.yaml", b"a: b\n" * 300_000, "is larger than 1,000,000 bytes"),
    ],
)
def test_other_file_types_are_reported(folder, name, content, message):
    (folder / name).write_bytes(content)

    with pytest.raises(UserError) as caught:
        load_job(f"./{name}")

    assert message in str(caught.value)


@pytest.mark.cases("F15")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name: missing"),
        ("just words\n", "expected keys and values, as in name: my-job"),
        ('name = "a"\n', "expected keys and values"),
        ("name: a\nscript:a.py\n", "a space belongs behind the colon of script:"),
        ("name: a\n---\nname: b\n", "one job to a file"),
        ("name: a\nresources:\n\tgpus: 1\n", "never tabs"),
        ("name: a\nresources:\n\u00a0\u00a0gpus: 1\n", "no-break space or a curly quote"),
    ],
)
def test_text_that_is_not_a_job(folder, text, message):
    """The message says what the file is instead of listing job keys."""
    (folder / "job.yaml").write_text(text)

    with pytest.raises(JobError) as caught:
        load_job("job.yaml")

    assert message in str(caught.value)
    assert "known are" not in str(caught.value)


@pytest.mark.cases("F15")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encoding_has_a_remedy(folder, encoding):
    (folder / "job.yaml").write_bytes("name: été\n".encode(encoding))

    with pytest.raises(JobError, match=r"is not UTF-8 text .*iconv -f"):
        load_job("job.yaml")


@pytest.mark.cases("F15", "C9")
def test_byte_order_mark_is_accepted(folder):
    (folder / "a.py").write_text(SCRIPT)
    (folder / "job.yaml").write_bytes("\ufeffname: a\nscript: a.py\n".encode())

    assert load_job("job.yaml").name == "a"


@pytest.mark.cases("F15")
def test_run_folder_is_not_a_job(folder):
    run = folder / "runs"
    run.mkdir()
    for name in ("manifest.json", "run.json"):
        (run / name).write_text(json.dumps({}))
    (run / "job.yaml").write_text("name: a\n")

    with pytest.raises(
        UserError, match=r"hpcdl submit runs/job.yaml starts a new one, hpcdl resume runs goes on"
    ):
        find_job("runs/")
    with pytest.raises(UserError, match=r"that run's job file is runs/job\.yaml"):
        load_job("runs/run.json")


@pytest.mark.cases("F3")
def test_set_path_is_relative_to_cwd(folder):
    """`--set script=MNIST.py` on a shipped job means the user's file, not the shipped one."""
    (folder / "MNIST.py").write_text(SCRIPT)

    assert load_job("mnist_script", ["script=MNIST.py"]).script == str(folder / "MNIST.py")


@pytest.mark.cases("F3")
def test_ambiguous_set_path_is_refused(folder):
    (folder / "course").mkdir()
    for place in (folder, folder / "course"):
        (place / "a.py").write_text(SCRIPT)
        (place / "b.py").write_text(SCRIPT)
    (folder / "course" / "job.yaml").write_text("name: a\nscript: a.py\n")
    Path("course/b.py").write_text("other = 1\n")

    with pytest.raises(JobError, match="say which: "):
        load_job("course/job.yaml", ["script=b.py"])
