"""The container command as a job would find it: on the system, by a module, or on the user's PATH alone; images."""

from __future__ import annotations

import pytest

from hpcdl.discover import software
from hpcdl.discover.lines import text
from hpcdl.discover.software import container_lines, image_line
from hpcdl.errors import UserError


def keys():
    """What is said of the container: key to value and state, and the comments."""
    lines = list(container_lines(lambda what: None))
    return {line.key: (line.value, line.state) for line in lines}, " ".join(
        line.why for line in lines
    )


def test_runtime_installed_on_system(login):
    login.container("singularity", "system")

    found, why = keys()

    assert found["runtime"] == ("singularity", "told")
    assert found["modules"] == (["singularity"], "unneeded")
    assert f"{login.system}/singularity says: singularity version 1.3" in why


def test_runtime_from_loaded_module(login, monkeypatch):
    """The user's shell has the module loaded; the job's shell will not."""
    path = login.container("apptainer", "module")
    monkeypatch.setenv("PATH", f"{path.parent}:{login.system}")
    monkeypatch.setenv(
        "BASH_FUNC_module%%", login.modules("zlib/1.2\nApptainer/1.3(default)\n", "Apptainer")
    )

    found, why = keys()

    assert found["runtime"] == ("apptainer", "told")
    assert found["modules"] == (["Apptainer"], "told")
    assert found["module_init"][1] == "unneeded", "the function is exported, so jobs inherit it"
    assert "after module load Apptainer it says: apptainer version 1.3" in why


@pytest.mark.parametrize(
    ("available", "loads"),
    [
        ("tools/singularity-ce/4.1\n", "tools/singularity-ce"),
        ("singularity/3.8.7\nsingularity/3.11.4\n", "singularity/3.11.4"),
        ("/apps/modules:\napptainer/\napptainer/1.2\nsingularity/3.8\n", "singularity"),
        ("singularity(default)\n", "singularity"),
    ],
    ids=["folder", "no-default", "one-is-broken", "without-version"],
)
def test_runtime_module_by_name(login, monkeypatch, available, loads):
    login.container("singularity", "module")
    login.container("apptainer", "module")  # as where one is the other's old name
    monkeypatch.setenv("BASH_FUNC_module%%", login.modules(available, loads))

    found, _ = keys()

    assert (found["modules"], found["runtime"]) == (([loads], "told"), ("singularity", "told"))


def test_unrelated_module_names_are_ignored(login, monkeypatch):
    login.container("apptainer", "module")
    monkeypatch.setenv(
        "BASH_FUNC_module%%",
        login.modules("py-apptainer\nmyapptainer/1\napptainer-$(touch x)\n", "x"),
    )

    found, why = keys()

    assert found["runtime"] == ("apptainer", "unknown")
    assert "module avail lists no apptainer" in why


def test_file_defining_module_command(login, monkeypatch):
    """A shell that does not export the function: the batch script has to source its file."""
    login.container("apptainer", "module")
    init = login.folder / "it's init.sh"
    init.write_text(f"module {login.modules('apptainer/1.3', 'apptainer')}\n")
    monkeypatch.delenv("BASH_FUNC_module%%")
    monkeypatch.setattr(software, "_INITS", (str(login.folder / "none.sh"), str(init)))

    found, _ = keys()

    assert found["modules"] == (["apptainer"], "told")
    assert found["module_init"] == (str(init), "told")


def test_runtime_only_on_path(login):
    path = login.container("apptainer", "bin")

    found, why = keys()

    assert found["runtime"] == (str(path), "guess")
    assert "there is no module command" in why


def test_runtime_not_found(login):
    found, _ = keys()

    assert {key: state for key, (_, state) in found.items()} == {
        "runtime": "unknown",
        "modules": "unknown",
    }


def images(folder, *names):
    for name in names:
        (folder / name).write_bytes(bytes(32) + b"SIF_MAGIC\0")
    return image_line([str(folder)])


def test_images_by_name(tmp_path):
    (tmp_path / "page.sif").write_text("<html>")

    line = images(tmp_path, "tf2.9.sif", "python3.11.sif", "tf2.11.sif", "my image.sif", "pytf.sif")

    assert {row.key: (row.value, row.state) for row in line.value} == {
        "tensorflow": (f"{tmp_path}/tf2.11.sif", "guess"),
        "my-image": (f"{tmp_path}/my image.sif", "told"),
        "python3.11": (f"{tmp_path}/python3.11.sif", "told"),
        "pytf": (f"{tmp_path}/pytf.sif", "told"),
        "tf2.9": (f"{tmp_path}/tf2.9.sif", "told"),
        "tf2.11": (f"{tmp_path}/tf2.11.sif", "told"),
    }
    assert f'  my-image: "{tmp_path}/my image.sif"' in text([line])


def test_image_called_tensorflow(tmp_path):
    line = images(tmp_path, "tensorflow.sif", "tf2.21.sif")

    assert [(row.key, row.state) for row in line.value] == [
        ("tensorflow", "told"),
        ("tf2.21", "told"),
    ]


@pytest.mark.cases("fault 6")
@pytest.mark.parametrize(
    ("processor", "address"),
    [
        ("x86_64", "docker://tensorflow/tensorflow:2.17.0-gpu"),
        ("aarch64", "docker://nvcr.io/nvidia/tensorflow:25.02-tf2-py3"),
    ],
)
def test_image_to_pull_finds_the_gpus(tmp_path, monkeypatch, processor, address):
    monkeypatch.setattr("platform.machine", lambda: processor)

    assert f"apptainer pull tensorflow.sif {address}" in image_line([str(tmp_path)]).why


def test_no_images():
    assert image_line([]).state == "unknown"
    with pytest.raises(UserError, match="there is no folder /nowhere/at/all"):
        image_line(["/nowhere/at/all"])
