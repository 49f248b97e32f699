"""What a program will not find where it looks, told before it waits in a queue."""

from __future__ import annotations

import pytest

from hpcdl.mounts import binds, gathering


@pytest.fixture
def site(world, monkeypatch):
    """Tests have their folders in /tmp, which is else an image's own."""
    monkeypatch.setattr(binds, "SYSTEM", ("/usr", "/etc"))
    monkeypatch.setattr(gathering, "of_the_site", lambda runtime: [])
    return world


def found(world, text, job="script.yaml"):
    world.write("program.py", text)
    report = world.check(job, only="paths")
    return [(finding.cause, finding.fix) for _, finding in report.findings]


READ = [
    "open('table.csv')",
    "pd.read_csv('./table.csv')",
    "x = 'table.csv'",
    "Path('table.csv').read_text()",
]


@pytest.mark.cases("F10")
@pytest.mark.parametrize("text", READ)
def test_file_next_to_script_is_reported(site, text):
    """The line is ready to copy, with the files that the job has already."""
    site.write("table.csv", "a,b")
    site.write("other.csv", "a,b")
    site.write("script.yaml", "name: a\nscript: program.py\nfiles: [other.csv]\n")

    ((cause, fix),) = found(site, f"\nopen('other.csv')\n{text}\n")

    assert (
        cause
        == "program.py:3 names table.csv, which lies next to the script and is not copied into the run"
    )
    assert fix == "files: [other.csv, table.csv] in the job file, or workdir: ."


@pytest.mark.cases("F10")
def test_folders_and_arguments_are_reported(site):
    """Folders and arguments that name files next to the script are reported, too."""
    (site.folder / "data/sub").mkdir()
    (site.folder / "data/sub/x.npy").write_text("")
    site.write("conf.yaml", "a: 1")
    site.write("script.yaml", "name: a\nscript: program.py\nargs: [--config, conf.yaml]\n")

    causes = [
        cause.partition(",")[0]
        for cause, _ in found(site, "os.listdir('data')\nnp.load('data/sub/x.npy')\n")
    ]

    assert causes == [
        "program.py:1 names data",
        "program.py:2 names data/sub/x.npy",
        "args[1] names conf.yaml",
    ]


@pytest.mark.cases("F10")
@pytest.mark.parametrize(
    "text",
    [
        "mode = 'data'", "open('table.csv', 'w')", "open('none.csv')", "open('/table.csv')", "f'{x}table.csv'",
        "df.to_csv('table.csv')\nopen('table.csv')", "import helper", "'.'", "x = ''", "'site.yaml'.split",
        "'a' * 300", "'program.py'",
    ],
)  # fmt: skip
def test_harmless_file_names_pass(site, text):
    """What the program writes itself, words that are folders' names by chance, what comes along anyway."""
    site.write("table.csv", "a,b")
    site.write("helper.py", "")

    assert [cause for cause, _ in found(site, text) if "site.yaml" not in cause] == []


@pytest.mark.cases("F10")
def test_other_working_directory(site):
    site.write("table.csv", "a,b")
    (site.folder / "elsewhere").mkdir()

    site.write("script.yaml", "name: a\nscript: program.py\nworkdir: .\n")
    assert found(site, "open('table.csv')") == []
    site.write("script.yaml", "name: a\nscript: program.py\nworkdir: elsewhere\n")
    assert len(found(site, "open('table.csv')")) == 1


@pytest.mark.cases("F9")
def test_unseen_paths_are_findings(site):
    (site.folder / "out").mkdir()

    ((cause, fix),) = found(site, f"model.save('{site.folder}/out/m.keras')")

    assert "the container does not see" in cause
    assert f"--set 'cluster.binds=[{site.folder}/out]'" in fix


@pytest.mark.cases("C42")
def test_very_many_sets_are_noted(site):
    for number in range(201):
        site.write(f"data/{number}.npz", "")
    site.write("program.py", "pass")

    assert "very many entries" in site.check("script.yaml", only="paths").notes[0]


@pytest.mark.cases("F9", "F10")
@pytest.mark.parametrize(
    ("text", "names_it"),
    [
        ("open('{file}')", True),
        ("np.load('{file}')", True),
        ("open('{file}', 'w')", False),
        ("open('{file}', 'w')\nopen('{file}')", False),
        ("open('{file}.other')", False),
        ("print('{file}')", False),
    ],
)
def test_file_in_tmp_is_reported(world, tmp_path_factory, text, names_it):
    """The nodes have another /tmp, and the container its own."""
    file = tmp_path_factory.mktemp("elsewhere") / "x.npz"
    file.write_text("")

    causes = [cause for cause, _ in found(world, text.format(file=file))]

    assert (
        any(f"names {file}, but the job has its own temporary folders" in cause for cause in causes)
        == names_it
    )


@pytest.mark.cases("F10", "F15")
def test_script_without_job_file_remedy(site):
    """Without a job file the remedy is an option of the command."""
    site.write("table.csv", "a,b")

    ((_, fix),) = found(site, "open('table.csv')", "program.py")

    assert fix == "--set 'files=[table.csv]', or --set workdir=."
