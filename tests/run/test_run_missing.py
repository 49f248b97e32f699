"""What to try after a file that was not found, from what programs really say."""

from __future__ import annotations

import pytest

from hpcdl.run.missing import missing_file_hint

SAID = [
    "FileNotFoundError: [Errno 2] No such file or directory: 'table.csv'",
    "FileNotFoundError: table.csv not found.",
    "OSError: Unable to open file (unable to open file: name = 'table.csv', errno = 2, "
    "error message = 'No such file or directory', flags = 0)",
    "ValueError: File not found: filepath=table.csv. Please ensure the file is an accessible `.keras` zip file.",
    "tensorflow.python.framework.errors_impl.NotFoundError: {{function_node x}} table.csv; No such file or directory",
    "FileNotFoundError: [Errno 2] No such file or directory: './table.csv'",
    "FileNotFoundError: [Errno 2] No such file or directory: '{run}/user/table.csv'",
    "FileNotFoundError: [Errno 2] No such file or directory: '{run}/work/table.csv'",
]


@pytest.mark.cases("F10")
@pytest.mark.parametrize("line", SAID)
def test_file_next_to_script_is_named(tmp_path, line):
    (tmp_path / "table.csv").write_text("")

    hint = missing_file_hint(
        ["Traceback", line.replace("{run}", "/runs/a/1"), ""], str(tmp_path), "/runs/a/1"
    )

    assert (
        hint
        == "table.csv lies next to the script: say files: [table.csv] in the job file, or workdir: ."
    )


@pytest.mark.cases("F9")
def test_file_outside_container_is_named(tmp_path):
    (tmp_path / "x.npz").write_text("")
    line = f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/x.npz'"

    hint = missing_file_hint([line], "/nowhere", "/runs/a/1")

    assert (
        hint
        == f"{tmp_path}/x.npz exists, but the container does not see it: add to binds: [{tmp_path}]"
    )


@pytest.mark.cases("F9")
def test_place_to_write_is_named():
    line = "OSError: [Errno 30] Read-only file system: '/gpfs/out/m.h5'"

    hint = missing_file_hint([line], "/nowhere", "/runs/a/1")

    assert hint == "/gpfs/out is bound read-only; to write there, add to binds: [/gpfs/out]"


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: x",
        "FileNotFoundError: [Errno 2] No such file or directory: 'none.csv'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/none/x'",
        "No such file or directory: '",
    ],
)
def test_other_errors_get_no_hint(tmp_path, line):
    assert missing_file_hint([line], str(tmp_path), "/runs/a/1") is None
