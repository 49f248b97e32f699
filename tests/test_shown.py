"""Which binds a job gets besides its own, and what its user is told."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.cluster import Cluster, Image, Node
from hpcdl.job import load_job
from hpcdl.launch.command import argv_of, places_of, read_plan
from hpcdl.mounts import binds, gathering
from hpcdl.mounts.needed import for_render
from hpcdl.planning import plan, reads_outside
from hpcdl.script import render
from hpcdl.submission.create import create
from hpcdl.submission.prepare import prepare


class Disk:
    """A user's project, and other folders that no profile names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("proj", "data", "else", "system"):
            (folder / name).mkdir()
        self.cluster = Cluster(
            name="site",
            node=Node(cpus=8, gpus=2),
            images={"tensorflow": Image("/images/tf.sif")},
            data_root=f"{folder}/data",
            runs_root=f"{folder}/runs",
        )

    def file(self, name: str, text: str = "x") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def link(self, name: str, to: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to if not to.startswith("/") else f"{self.folder}{to}")
        return str(path)

    def pictures(self, name: str) -> None:
        for label in ("a", "b"):
            self.file(f"{name}/{label}/1.jpg")

    def prepare(self, job: str, **changes):
        self.file("proj/job.yaml", f"name: a\n{job}")
        loaded = load_job(str(self.folder / "proj/job.yaml"))
        return prepare(loaded, replace(self.cluster, **changes))

    def script(self, text: str, keys: str = "", **changes):
        self.file("proj/train.py", text)
        return self.prepare(f"script: train.py\n{keys}", **changes)

    def shown(self, prepared) -> list[str]:
        """The binds that were added, without the disk's own name; all are read-only."""
        assert all(bind.endswith(":ro") for bind in prepared.plan.require_container().shown)
        pairs = [bind[:-3].split(":") for bind in prepared.plan.require_container().shown]
        assert all(source == target for source, target in pairs)
        return [source.removeprefix(str(self.folder)) for source, _ in pairs]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Tests have their folders in /tmp, which is else an image's own."""
    monkeypatch.setattr(binds, "SYSTEM", ("/usr", "/etc", f"{tmp_path}/system"))
    monkeypatch.setattr(gathering, "of_the_site", lambda runtime: [])
    return Disk(tmp_path)


PHOTOS = "data: {path: phlink, image_size: [4, 4]}\nmodel: {name: mlp}\n"


@pytest.mark.cases("F9", "C5")
def test_linked_data_path_is_bound(disk):
    disk.pictures("else/photos")
    disk.link("proj/phlink", "/else/photos")

    assert disk.shown(disk.prepare(PHOTOS)) == ["/else/photos"]


@pytest.mark.cases("F9", "C5")
def test_links_in_image_folder_are_bound(disk):
    """Class folders that are links, folders of linked files, and links in linked folders."""
    disk.pictures("else/photos")
    disk.file("else/more/c/2.jpg")
    disk.file("far/3.jpg")
    disk.file("far/4.jpg")
    disk.link("proj/phlink/a", "/else/photos/a")
    disk.link("proj/phlink/c", "/else/more/c")
    disk.link("else/more/c/3.jpg", "/far/3.jpg")
    disk.link("proj/phlink/d/4.jpg", "/far/4.jpg")
    disk.link("proj/phlink/d/gone.jpg", "/far/none.jpg")
    disk.link("proj/phlink/loop", "/proj/phlink")

    assert sorted(disk.shown(disk.prepare(PHOTOS))) == ["/else/more/c", "/else/photos/a", "/far"]


@pytest.mark.cases("F9", "C5")
def test_links_of_staged_sets_are_bound(disk):
    disk.file("else/mnist.npz")
    disk.file("else/nets/w.h5")
    disk.link("data/mnist.npz", "/else/mnist.npz")
    disk.link("data/models", "/else/nets")

    model = "data: {name: mnist}\nmodel: {name: mlp}\n"

    assert disk.shown(disk.prepare(model)) == ["/else/mnist.npz", "/else/nets"]
    assert disk.shown(disk.script("pass")) == ["/else"], (
        "the folder of a linked file: it may be one of many"
    )


@pytest.mark.cases("C5")
def test_linked_weights_and_pythonpath_are_bound(disk):
    disk.file("data/x.npz")
    disk.file("else/nets/w.h5")
    disk.link("proj/w.h5", "/else/nets/w.h5")
    disk.file("else/lib/helper.py")
    disk.link("proj/lib/helper.py", "/else/lib/helper.py")
    job = "data: {name: x}\nmodel: {backbone: MobileNetV2, weights: w.h5}\npythonpath: [lib]\n"

    assert disk.shown(disk.prepare(job)) == ["/else/nets/w.h5", "/else/lib"]


@pytest.mark.cases("C5")
def test_link_into_bound_folder(disk):
    disk.pictures("else/photos")
    disk.link("proj/phlink", "/else/photos")

    assert disk.shown(disk.prepare(PHOTOS, binds=[f"{disk.folder}/else"])) == []
    other = disk.prepare(PHOTOS, binds=[f"{disk.folder}/far:{disk.folder}/else"])
    assert other.plan.require_container().shown == []
    assert "cluster.binds=" in other.unseen[0].fix


@pytest.mark.cases("F9", "C5")
def test_unbindable_files_are_reported(disk):
    """Nothing is put over the image's own folders; the line that does it is told, with the binds there are."""
    disk.pictures("system/photos")
    disk.link("proj/phlink", "/system/photos")

    prepared = disk.prepare(PHOTOS, binds=["/opt/site"])

    (unseen,) = prepared.unseen
    assert (prepared.plan.require_container().shown, unseen.key, unseen.blocks) == (
        [],
        "data.path",
        True,
    )
    line = f"[/opt/site, {disk.folder}/system/photos]"
    assert unseen.cause.startswith(
        f"{disk.folder}/proj/phlink leads to {disk.folder}/system/photos, "
    )
    assert unseen.fix == f"binds: {line} in the profile, or --set 'cluster.binds={line}'"


@pytest.mark.cases("C5")
@pytest.mark.parametrize("name", ["a:b", "a,b"])
def test_unbindable_name_is_reported(disk, name):
    """The remedy for a name with a comma or colon is to rename the file."""
    disk.pictures(f"else/{name}")
    disk.link("proj/phlink", f"/else/{name}")

    prepared = disk.prepare(PHOTOS)

    assert (prepared.plan.require_container().shown, [one.fix for one in prepared.unseen]) == (
        [],
        ["rename it"],
    )


@pytest.mark.cases("F9")
def test_hostile_names_are_quoted(disk):
    """A name in a script is a word of the batch script, whatever it holds."""
    path = disk.file('else/it\'s "$(id)" `id`.npz')
    disk.file("proj/train.py", f"np.load({path!r})")
    disk.file("proj/job.yaml", "name: a\nscript: train.py\n")
    job = load_job(str(disk.folder / "proj/job.yaml"))

    decided, _ = for_render(plan(job, disk.cluster), job, None, bundle=False)

    assert f"    --bind {shlex.quote(f'{path}:{path}:ro')}\n" in render(decided)


@pytest.mark.cases("C5")
def test_very_many_links_are_reported(disk, monkeypatch):
    monkeypatch.setattr(gathering, "_MOST_ENTRIES", 3)
    disk.pictures("else/photos")
    for number in range(5):
        disk.link(f"proj/phlink/a/{number}.jpg", "/else/photos/a/1.jpg")

    assert "too many entries" in disk.prepare(PHOTOS).unseen[-1].cause
    monkeypatch.setattr(gathering, "_MOST_ENTRIES", 3)
    (disk.folder / "proj/phlink").rename(disk.folder / "old")
    for number in range(5):
        disk.file(f"proj/phlink/a/{number}.jpg")
    assert disk.prepare(PHOTOS).unseen == []


READS = [
    "load_data(path='{}/else/mnist.npz')",
    "np.load('{}/else/mnist.npz')",
    "os.path.join('{}/else', 'mnist.npz')",
    "Path('{}/else') / 'mnist.npz'",
]


@pytest.mark.cases("F9")
@pytest.mark.parametrize("text", READS)
def test_file_that_script_names_is_bound(disk, text):
    """The course's load_data(path=...): bound read-only, and said in the script's header."""
    disk.file("else/mnist.npz")

    prepared = disk.script(f"import x\n\nd = {text.format(disk.folder)}\n")

    assert (disk.shown(prepared), prepared.unseen) == (["/else/mnist.npz"], [])
    path = f"{disk.folder}/else/mnist.npz"
    assert f"\n# the container sees {path}, read-only: train.py:3 names it\n" in (
        prepared.script or ""
    )


FOLDERS = [
    "glob('{}/else/set/*.npy')",
    "f'{}/else/set/{{x}}.npy'",
    "'{}/else/set/' + x",
    "listdir('{}/else/set')",
]


@pytest.mark.cases("F9")
@pytest.mark.parametrize("text", FOLDERS)
def test_folder_that_script_names_is_bound(disk, text):
    disk.file("else/set/1.npy")
    disk.file("far/2.npy")
    disk.link("else/set/2.npy", "/far/2.npy")

    assert disk.shown(disk.script(text.format(disk.folder))) == ["/else/set", "/far"]


@pytest.mark.cases("F9")
def test_names_in_modules_arguments_and_variables(disk):
    for name in ("one", "two", "three", "four"):
        disk.file(f"else/{name}.csv")
    disk.file("proj/helper.py", f"open('{disk.folder}/else/one.csv')")
    keys = (
        f"args: [{disk.folder}/else/two.csv, '--x={disk.folder}/else/three.csv']\n"
        f"env: {{A: '/none:{disk.folder}/else/four.csv'}}\n"
    )

    shown = disk.shown(disk.script("import helper", keys))

    assert shown == [f"/else/{name}.csv" for name in ("one", "two", "three", "four")]


@pytest.mark.cases("F9")
@pytest.mark.parametrize(
    "text",
    [
        "'/'", "'/tmp/no-such-x'", "'https://x.org/a'", "r'/\\d+/'", "'/else/{}'", "'/usr/bin/env'", "'/no/such/file'", "'//'",
        "'/a b c'", "'/%s' % x", "'/' + x", "f'/{x}'", "'/home'", "'/etc/passwd'", "'~'", "'~/.keras/x'", "'~x'",
    ],
)  # fmt: skip
def test_harmless_texts_bind_nothing(disk, text):
    prepared = disk.script(f"x = 1\ny = {text}\n")

    assert (prepared.plan.require_container().shown, prepared.unseen) == ([], [])


@pytest.mark.cases("F9")
def test_places_to_write_are_reported(disk):
    """An output folder that the container does not see loses a result after hours: said, and not bound unasked."""
    (disk.folder / "else/out").mkdir()

    prepared = disk.script(f"model.save('{disk.folder}/else/out/m.keras')")

    (unseen,) = prepared.unseen
    assert (prepared.plan.require_container().shown, unseen.blocks) == ([], False)
    assert unseen.cause.startswith(
        f"train.py:1 names {disk.folder}/else/out/m.keras, and the container does not see"
    )
    assert f"'cluster.binds=[{disk.folder}/else/out]'" in unseen.fix
    assert "read-only" in disk.script(f"open('{disk.folder}/data/x', 'w')").unseen[0].cause


@pytest.mark.cases("F9")
@pytest.mark.parametrize(
    "keys", ["args: [--output-dir, '{}']", "args: ['--logdir={}']", "env: {{TMPDIR: '{}'}}"]
)
def test_output_options_are_reported(disk, keys):
    """A folder that an option or a variable names for output is not bound read-only: it would be of no use."""
    (disk.folder / "else/out").mkdir()

    prepared = disk.script("pass", keys.format(disk.folder / "else/out"))

    assert (prepared.plan.require_container().shown, len(prepared.unseen)) == ([], 1)


@pytest.mark.cases("F9")
def test_home_in_job_differs(disk, monkeypatch):
    monkeypatch.setenv("HOME", str(disk.folder / "else"))
    disk.file("else/x.csv")

    (unseen,) = disk.script("open(os.path.expanduser('~/x.csv'))").unseen

    assert unseen.fix == f"write {disk.folder}/else/x.csv"


@pytest.mark.cases("F9", "C5")
def test_rendered_script_has_the_same_binds(disk):
    disk.file("else/mnist.npz")
    disk.file("far/table.csv")
    disk.link("proj/table.csv", "/far/table.csv")
    disk.file("proj/train.py", f"open('{disk.folder}/else/mnist.npz'); open('table.csv')")
    disk.file("proj/job.yaml", "name: a\nscript: train.py\n")
    job = load_job(str(disk.folder / "proj/job.yaml"))

    for bundle, expected in ((False, ["/far", "/else/mnist.npz"]), (True, ["/else/mnist.npz"])):
        decided, unseen = for_render(plan(job, disk.cluster), job, None, bundle)
        assert unseen == []
        assert [bind.split(":")[1] for bind in decided.require_container().shown] == [
            f"{disk.folder}{name}" for name in expected
        ]


@pytest.mark.cases("C5")
def test_node_binds_frozen_folders(disk):
    """What is there on the node is bound, what is missing there stops nothing."""
    there, gone = disk.file("else/there.npz"), disk.file("else/gone.npz")
    prepared = disk.script(f"open('{there}'); open('{gone}')")
    create(prepared.paths, prepared.job, prepared.plan, None, [])
    os.unlink(gone)
    frozen = read_plan(prepared.paths)

    argv, _ = argv_of(frozen, places_of(prepared.paths, frozen), ["true"])

    assert f"{there}:{there}:ro" in argv
    assert gone not in " ".join(argv)


@pytest.mark.cases("C5")
def test_data_visible_on_node_only(disk):
    disk.pictures("else/photos")
    prepared = disk.prepare(PHOTOS)
    create(prepared.paths, prepared.job, prepared.plan, prepared.spec, [])
    disk.link("proj/phlink", "/else/photos")
    frozen = read_plan(prepared.paths)

    places = places_of(prepared.paths, frozen)

    assert frozen.require_container().shown == []
    assert f"{disk.folder}/else/photos:{disk.folder}/else/photos:ro" in places.binds


@pytest.mark.cases("C5")
def test_run_folder_is_never_hidden(disk):
    """data_root around the runs is mounted first: it would make them read-only."""
    prepared = disk.script("pass", data_root=str(disk.folder))
    create(prepared.paths, prepared.job, prepared.plan, None, [])

    argv, _ = argv_of(prepared.plan, places_of(prepared.paths, prepared.plan), ["true"])

    given = [argv[place + 1] for place, word in enumerate(argv) if word == "--bind"]
    support = [bind for bind in given if bind.endswith("/hpcdl_support:ro")]
    assert given[-1 - len(support)] == str(prepared.paths.root)
    assert given[0] == f"{disk.folder}:{disk.folder}:ro"
    assert len(given) == 2 + len(support)


@pytest.mark.parametrize(
    ("path", "folder"), [("/photos", "/photos"), ("/sets/x.npz", "/sets"), ("/d/x.npz", None)]
)
def test_data_below_root_binds_no_root(path, folder):
    """data.path /photos lies in /, and that is not bound."""
    assert reads_outside(path, None, "/d") == ([folder] if folder else [])
