"""What the container sees, by Apptainer's own word: links, names in a script, relative files, modules' binds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.testbed.conftest import Bed
from tests.testbed.test_standalone import Sent, render

pytestmark = pytest.mark.testbed

# Its arguments come backwards: what stands there as text is found and bound
LOOK = """
import json, os, sys
base = sys.argv[1][::-1]
def reads(path):
    try:
        return open(path).read()
    except OSError as error:
        return error.strerror
named = reads("NAMED")
seen = {"named": named, "linked": reads("table.csv")}
seen.update(site=reads(base + "/site/x"), leak=reads(base + "/leak/x"))
try:
    open("NAMED", "w")
except OSError as error:
    seen["written"] = error.strerror
open("seen.json", "w").write(json.dumps(seen))
print("cwd", os.getcwd())
"""
JOB = """
name: look
container: python
resources: {gpus: 0, cpus: 1, time: "00:05:00"}
script: look.py
files: [table.csv]
args: [BASE]
"""
SEEN = {"named": "named", "linked": "a,b", "site": "site", "leak": "No such file or directory"}


@pytest.fixture
def places(bed: Bed) -> Bed:
    """A script that names a file, a linked table beside it; a module and a shell that bind folders."""
    base = str(bed.folder)
    for name in ("named", "site", "leak"):
        bed.write(f"{name}/x", name)
    bed.write("far/table.csv", "a,b")
    bed.write("job/look.py", LOOK.replace("NAMED", f"{base}/named/x"))
    bed.write("job/job.yaml", JOB.replace("BASE", base[::-1]))
    (bed.folder / "job/table.csv").symlink_to("../far/table.csv")
    bed.write("modulefiles/bindings", f"#%Module1.0\nsetenv APPTAINER_BIND {base}/site\n")
    profile = bed.profile.read_text().replace(
        "modules: [singularity]", "modules: [singularity, bindings]"
    )
    bed.profile.write_text(profile)
    for path in (bed.folder, *bed.folder.rglob("*")):
        shutil.chown(path, "hpcuser", "hpcuser")
    bed.environment |= {"APPTAINER_BIND": f"{base}/leak", "SINGULARITY_BIND": f"{base}/leak"}
    bed.environment |= {"MODULEPATH": f"{base}/modulefiles:/etc/environment-modules/modules"}
    return bed


def seen_in(folder: Path) -> dict[str, str]:
    seen: dict[str, str] = json.loads((folder / "seen.json").read_text())
    return seen


@pytest.mark.cases("F9", "F10", "C5", "C37")
def test_submitted_script_sees_files_of_user(places: Bed) -> None:
    """What it names, what is linked or relative, what a module binds; with runs_root behind a link."""
    (places.folder / "runs").mkdir(exist_ok=True)
    shutil.chown(places.folder / "runs", "hpcuser", "hpcuser")
    (places.folder / "link").symlink_to("runs")
    places.runs = places.folder / "link"

    run = places.submit("job/job.yaml")

    assert run.wait()["state"] == "done", run.log()
    assert seen_in(run.path / "work") == {**SEEN, "written": "Read-only file system"}
    assert f"cwd {places.folder}/link/look/" in run.log()


@pytest.mark.cases("F9", "C5", "C37")
def test_rendered_script_sees_the_same(places: Bed) -> None:
    render(places, "job/job.yaml", "job/look.slurm")
    job = Sent(places, "look.slurm", "job")

    assert job.end() == "COMPLETED|0:0", job.printed()
    assert seen_in(job.path) == {**SEEN, "written": "Read-only file system"}


@pytest.mark.cases("F9", "C37")
def test_shell_sees_the_same(places: Bed) -> None:
    base = str(places.folder)
    words = f"hpcdl shell job.yaml -c {places.profile} --runs-dir {places.runs} -- python3 look.py {base[::-1]}"

    places.run("bash", "-c", f"cd job && exec {words}")

    assert seen_in(places.folder / "job") == {**SEEN, "written": "Read-only file system"}


@pytest.mark.cases("F9", "C5")
def test_linked_images_are_trained_on(bed: Bed) -> None:
    """data.path is a link, a class's folder is one, and another's files are."""
    image = pytest.importorskip("PIL.Image")
    for label, level in (("dark", 20), ("light", 220)):
        for number in range(12):
            path = bed.folder / f"else/{label}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.new("L", (8, 8), level + number).save(path)
    (bed.folder / "proj/photos").mkdir(parents=True)
    (bed.folder / "proj/photos/dark").symlink_to(bed.folder / "else/dark")
    (bed.folder / "proj/photos/light").mkdir()
    for number in range(12):
        (bed.folder / f"proj/photos/light/{number}.png").symlink_to(
            f"../../../else/light/{number}.png"
        )
    (bed.folder / "job").mkdir()
    (bed.folder / "job/phlink").symlink_to("../proj/photos")
    bed.write(
        "job/job.yaml",
        "name: links\nresources: {gpus: 0, cpus: 1, time: '00:10:00'}\ndata: {path: phlink}\n"
        "model: {name: mlp, dense: [4]}\ntrain: {epochs: 1}\n",
    )
    run = bed.submit("job/job.yaml")

    assert run.wait()["state"] == "done", run.log()
    assert run.json("result.json")["data"]["class_names"] == ["dark", "light"]


@pytest.mark.cases("F9")
def test_discovered_profile_binds_account_folder(bed: Bed) -> None:
    bed.run("hpcdl", "cluster", "discover", "-o", "site.yaml")

    profile = yaml.safe_load((bed.folder / "site.yaml").read_text())
    assert profile["binds"] == ["/gpfs/scratch/nct00"]
