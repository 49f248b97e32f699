"""The file names in a program's text, as people write them."""

from __future__ import annotations

import pytest

from hpcdl.usercode.named_paths import Named, names_in, set_names

NAMES = [
    ("load_data(path='/gpfs/scratch/nct00/mnist.npz')", "/gpfs/scratch/nct00/mnist.npz", True),
    ('os.path.join("/a", "b", "c.npy")', "/a/b/c.npy", True),
    ('os.path.join("/a", name)', "/a/", False),
    ('f"/a/b/{name}.npy"', "/a/b/", False),
    ('f"/a/{0}" "x"', "/a/", False),
    ('Path("/a") / "b" / "c.csv"', "/a/b/c.csv", True),
    ('Path("/a", "b")', "/a/b", True),
    ('pathlib.Path("/a").joinpath("b")', "/a/b", True),
    ('"/a/" + "b.csv"', "/a/b.csv", True),
    ('"/a/" + name', "/a/", False),
    ('"/a/%s.csv" % name', "/a/", False),
    ('"/a/{}/b".format(name)', "/a/", False),
    ('os.path.expanduser("~/data/x.csv")', "~/data/x.csv", True),
    ('Path("~/x").expanduser()', "~/x", True),
    ('os.path.join("/a", "/b")', "/b", True),
]


@pytest.mark.cases("F9")
@pytest.mark.parametrize(("expression", "text", "whole"), NAMES, ids=[row[0] for row in NAMES])
def test_joined_file_names_are_found(expression, text, whole):
    """A name is found once, as far as it is written out; its parts are no names."""
    (named,) = names_in(f"import os\nx = {expression}\n")

    assert (named.text, named.line, named.whole) == (text, 2, whole)


WRITTEN = [
    'open("/a", "w")', 'open("/a", mode="ab")', 'Path("/a").open("w")', 'Path("/a").write_text(x)',
    'model.save("/a")', 'np.save("/a", x)', 'df.to_csv("/a")', 'gzip.open("/a", "wt")', 'os.makedirs("/a")',
    'out = "/a"\nmodel.save(out)', 'out = "/a"\nopen(os.path.join(out, name), "w")', 'ModelCheckpoint(filepath="/a")',
]  # fmt: skip
READ = [
    'open("/a")',
    'open("/a", "rb")',
    'np.load("/a")',
    'out = "/a"\npd.read_csv(out)',
    'gzip.open("/a")',
]


@pytest.mark.parametrize("source", [*WRITTEN, *READ])
def test_writing_differs_from_reading(source):
    named = next(one for one in names_in(source) if one.text == "/a")

    assert (named.written, named.read) == (source in WRITTEN, source in READ)


@pytest.mark.parametrize(
    "source", ['"""/a docstring"""', "# /a", "def f(:", "x = 1 / 2", "x = '/a\\n'", "x = b'/a'"]
)
def test_texts_without_file_names(source):
    assert [named for named in names_in(source) if named.text.startswith("/")] == []


def test_deep_nesting_is_survived():
    assert isinstance(names_in("x = " + "(" * 150 + "'/a'" + ")" * 150), list)
    assert isinstance(names_in("x = " + "1 + " * 5000 + "'/a'"), list)


@pytest.mark.cases("C42")
def test_names_for_keras_cache():
    names = set_names(
        [
            Named("flowers", 1, True),
            Named("https://x.org/a/photos.tgz", 1, True),
            Named("speech.tar.gz", 1, True),
            Named("sub/file.npz", 1, True),
            Named("half_", 1, False),
        ]
    )

    assert {
        "flowers",
        "flowers.tar.gz",
        "photos.tgz",
        "photos",
        "speech.tar.gz",
        "speech",
        "sub",
    } <= names
    assert "half_" not in names
