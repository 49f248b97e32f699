"""Sets and weights fetched from a real HTTP server: whole, cut, wrong, missing, by two at once, killed meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcdl.errors import HpcdlError
from hpcdl.staging import catalogue, cifar, weights
from hpcdl.staging import stage as staging
from tests.staging.conftest import HDF5, archive_of, cifar10_members, names, sha256


def npz(rows: int = 2000) -> bytes:
    stream = io.BytesIO()
    images = np.random.default_rng(1).integers(0, 256, (rows, 28, 28), np.uint8)
    np.savez(
        stream, x_train=images, y_train=np.arange(rows) % 10, x_test=images[:9], y_test=np.arange(9)
    )
    return stream.getvalue()


MNIST = npz()
NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture
def known(monkeypatch, site):
    """Puts contents on the server as if they were a set's published files."""

    def publish(name: str, *contents: bytes) -> None:
        sources = catalogue.SETS[name]
        made = []
        for source, content in zip(sources, contents, strict=True):
            site.files[source.url.rpartition("/")[2]] = content
            made.append(catalogue.Source(source.file, source.url, sha256(content)))
        monkeypatch.setitem(catalogue.SETS, name, tuple(made))

    publish("mnist", MNIST)
    return publish


@pytest.fixture
def stage(cli, tmp_path, site, known):
    def run(*argv: object, mirror: str | None = None) -> object:
        where = ("--mirror", mirror or site.url) if "--from" not in argv else ()
        return cli("data", "stage", *argv, *where, "--data-root", tmp_path / "data")

    return run


def check_sums(folder: Path, *sums: str) -> None:
    for name in sums:
        subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", name], cwd=folder, check=True
        )


def test_mnist_is_fetched_with_checksum(stage, site, tmp_path):
    """mnist.npz lies in data_root as Keras expects it, with its checksum next to it."""
    answer = stage("mnist")

    assert (answer.code, answer.out) == (0, f"{tmp_path}/data/mnist.npz\n"), answer.err
    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST
    assert names(tmp_path / "data") == ["mnist.npz", "mnist.npz.sha256"]
    assert (tmp_path / "data/mnist.npz").stat().st_mode & 0o777 == 0o644
    head = (tmp_path / "data/mnist.npz.sha256").read_text().splitlines()[0]
    assert head.startswith("# staged 2") and head.endswith(f"Z from {site.url}/mnist.npz")
    check_sums(tmp_path / "data", "mnist.npz.sha256")


def test_piped_progress_is_plain_lines(stage):
    lines = stage("mnist").err.splitlines()

    assert lines[0] == "mnist.npz: 0.0 of 1.6 MB"
    assert lines[-3] == "mnist.npz: 1.6 of 1.6 MB"
    assert lines[-2:] == ["staged mnist: 1.6 MB", f"{sha256(MNIST)}  mnist.npz"]


def test_fashion_mnist_fetched_into_keras_folder(stage, known, site, tmp_path):
    contents = [gzip.compress(bytes([number])) for number in range(4)]
    known("fashion_mnist", *contents)

    assert stage("fashion_mnist").out == f"{tmp_path}/data/fashion-mnist\n"

    assert sorted(os.listdir(tmp_path / "data/fashion-mnist")) == [
        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    ]  # fmt: skip
    check_sums(tmp_path / "data", "fashion-mnist.sha256")


def test_cifar10_serves_every_keras(stage, known, tmp_path):
    """The archive lies under both names that Keras uses, and as npz for hpcdl."""
    known("cifar10", archive_of(cifar10_members()))

    answer = stage("cifar10")

    assert answer.out == f"{tmp_path}/data/cifar10.npz\n", answer.err
    assert names(tmp_path / "data") == [
        "cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz", "cifar10.npz", "cifar10.npz.sha256"
    ]  # fmt: skip
    link = tmp_path / "data/cifar-10-batches-py-target_archive"
    assert os.readlink(link) == "cifar-10-batches-py.tar.gz"
    with np.load(tmp_path / "data/cifar10.npz", allow_pickle=False) as data:
        assert data["x_train"].shape == (10, 32, 32, 3)
        assert (
            data["x_train"][:, 0, 0, 0].tolist()
            == list(range(10))
            == data["x_train"][:, 31, 31, 2].tolist()
        )
        assert (data["y_train"].tolist(), data["y_test"].tolist()) == (
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            [0, 1],
        )
    check_sums(tmp_path / "data", "cifar10.npz.sha256")


def test_weights_fetched_into_models(stage, site, tmp_path):
    site.files[NO_TOP] = HDF5 + b"weights"

    answer = stage("weights/MobileNetV2")

    assert answer.out == f"{tmp_path}/data/models/{NO_TOP}\n", answer.err
    assert names(tmp_path / "data/models") == [NO_TOP, f"{NO_TOP}.sha256"]
    check_sums(tmp_path / "data/models", f"{NO_TOP}.sha256")
    assert weights.find_weights(tmp_path / "data/models", "MobileNetV2", include_top=False)


def test_weights_with_top_include_class_index(stage, site, tmp_path, monkeypatch):
    """Full ImageNet weights come with imagenet_class_index.json."""
    top = NO_TOP.replace("_no_top", "")
    site.files.update({top: HDF5, "imagenet_class_index.json": b"{}"})
    index = catalogue.Source(
        weights.CLASS_INDEX.file, weights.CLASS_INDEX.url, "99914b932bd37a50b983c5e7c90ae93b"
    )
    monkeypatch.setattr("hpcdl.staging.request.CLASS_INDEX", index)  # the md5 of {}

    assert stage("weights/MobileNetV2", "--include-top").out == f"{tmp_path}/data/models/{top}\n"

    assert names(tmp_path / "data/models") == ["imagenet_class_index.json", top, f"{top}.sha256"]


def test_page_instead_of_weights_refused(stage, site, tmp_path):
    site.files[NO_TOP] = b"<html>please log in"

    answer = stage("weights/MobileNetV2")

    assert (answer.code, answer.out) == (1, "")
    assert f"{site.url}/{NO_TOP} did not give an HDF5 file" in answer.err
    assert names(tmp_path / "data/models") == []


def test_cut_connection_is_continued(stage, site, tmp_path):
    third = len(MNIST) // 3
    site.cut = [third, third]

    assert stage("mnist").code == 0

    assert [wanted for _, wanted in site.asked] == ["", f"bytes={third}-", f"bytes={2 * third}-"]
    assert sum(site.sent) == len(MNIST)
    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST


def test_server_without_ranges_restarts_download(stage, site, tmp_path):
    site.cut, site.ranges = [len(MNIST) // 3], False

    assert stage("mnist").code == 0

    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST


def test_download_gives_up_after_cuts(stage, site, tmp_path):
    """A server without ranges that always cuts the connection is not asked for ever."""
    site.cut, site.ranges = [1000] * 9, False

    answer = stage("mnist")

    assert answer.code == 1
    assert (
        f"cannot fetch {site.url}/mnist.npz: the connection ended after 1,000 of {len(MNIST):,} bytes"
        in answer.err
    )
    assert len(site.asked) == 4  # the first and PAUSES_S more, after one that brought something


def test_temporary_server_errors_are_retried(stage, site):
    """503 and 429 lead to another attempt."""
    site.statuses = [503, 429]

    answer = stage("mnist")

    assert answer.code == 0
    assert "503 Service Unavailable; another attempt" in answer.err


def test_missing_server_file_fails_at_once(stage, site, tmp_path):
    """404 is reported without another attempt."""
    site.files.clear()

    answer = stage("mnist")

    assert (answer.code, answer.out) == (1, "")
    assert f"{site.url}/mnist.npz: the server answers 404 Not Found" in answer.err
    assert len(site.asked) == 1
    assert names(tmp_path / "data") == []


def test_wrong_bytes_are_never_staged(stage, site, tmp_path):
    site.files["mnist.npz"] = b"<html>" + MNIST[6:]

    answer = stage("mnist")

    assert (answer.code, answer.out) == (1, "")
    assert (
        "gave another file than Keras expects" in answer.err
        and f"expected {sha256(MNIST)}" in answer.err
    )
    assert len(site.asked) == 1
    assert names(tmp_path / "data") == []


def test_outdated_partial_file_is_dropped(stage, site, tmp_path):
    """What an earlier attempt left is of an older version; the server's new one is fetched whole."""
    aside = tmp_path / "data/.mnist.npz.staging"
    aside.mkdir(parents=True)
    (aside / "mnist.npz.part").write_bytes(bytes(1000))

    answer = stage("mnist")

    assert answer.code == 0
    assert "does not fit what was kept; starting again" in answer.err
    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST


def test_changed_etag_restarts_download(stage, site, tmp_path):
    """A partial download is not continued after the server's file has changed."""
    site.files[NO_TOP] = HDF5 + bytes(5000)
    site.cut = [1000] * 4
    site.ranges = False  # so that nothing is gone on with yet
    assert stage("weights/MobileNetV2").code == 1

    site.files[NO_TOP], site.ranges = HDF5 + b"new" * 999, True  # and no checksum is published
    assert stage("weights/MobileNetV2").code == 0

    assert (tmp_path / "data/models" / NO_TOP).read_bytes() == site.files[NO_TOP]


def test_complete_partial_file_needs_no_download(stage, site, tmp_path):
    """A killed attempt that had received everything asks the server for nothing."""
    aside = tmp_path / "data/.mnist.npz.staging"
    aside.mkdir(parents=True)
    (aside / "mnist.npz.part").write_bytes(MNIST)

    assert stage("mnist").code == 0

    assert site.sent == []


def test_missing_internet_has_remedy(stage, tmp_path):
    answer = stage("weights/VGG16", "--include-top", mirror="http://127.0.0.1:9/no")

    assert (answer.code, answer.out) == (1, "")
    assert (
        "cannot fetch http://127.0.0.1:9/no/vgg16_weights_tf_dim_ordering_tf_kernels.h5"
        in answer.err
    )
    assert "Connection refused" in answer.err
    root = f"{tmp_path}/data"
    assert (
        f"hpcdl data stage weights/VGG16 --include-top --data-root DIR, and copy DIR to {root}"
        in answer.err
    )
    assert "--from vgg16_weights_tf_dim_ordering_tf_kernels.h5" in answer.err
    assert names(tmp_path / "data") == ["models"]


def test_proxy_from_environment_is_used(stage, site, monkeypatch):
    monkeypatch.setenv("http_proxy", site.url)

    assert stage("mnist", mirror="http://nowhere.invalid/sets").code == 0
    assert len(site.asked) == 1


def test_staged_set_is_not_fetched_again(stage, site, tmp_path):
    stage("mnist")
    again = stage("mnist")

    assert (again.code, again.out) == (0, f"{tmp_path}/data/mnist.npz\n")
    assert "mnist is staged already, and unchanged" in again.err
    assert len(site.asked) == 1


@pytest.mark.parametrize("harm", ["damaged", "replaced", "removed"])
def test_wrong_staged_file_is_fetched_again(stage, site, tmp_path, harm):
    """A staged file that is damaged, removed or replaced is fetched again."""
    stage("mnist")
    if harm == "damaged":
        (tmp_path / "data/mnist.npz").write_bytes(b"x" + MNIST[1:])
    elif harm == "removed":
        (tmp_path / "data/mnist.npz").unlink()
    else:
        (tmp_path / "mine.npz").write_bytes(npz(rows=20))
        assert (
            "does not have the checksum that Keras publishes"
            in stage("mnist", "--from", tmp_path / "mine.npz").err
        )

    stage("mnist")

    assert len(site.asked) == 2
    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST


# The command in a process of its own, with this test's contents published
PROGRAM = """
import sys
from hpcdl.cli import main
from hpcdl.staging import catalogue
catalogue.SETS["mnist"] = (catalogue.Source("mnist.npz", "http://x/mnist.npz", sys.argv[1]),)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def start(tmp_path, site, known):
    """Starts ``hpcdl data stage mnist`` in a process of its own."""

    def begin(
        root: Path, before: Callable[[], None] | None = None, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        argv = ["data", "stage", "mnist", "--mirror", site.url, "--data-root", str(root)]
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, sha256(MNIST), *argv],
            stdout=subprocess.PIPE, stderr=stderr, text=True, preexec_fn=before,
        )  # fmt: skip

    return begin


def wait_for_bytes(root: Path, process: subprocess.Popen[str]) -> None:
    part = root / ".mnist.npz.staging/mnist.npz.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, process.communicate()


def test_terminal_shows_a_bar(start, tmp_path):
    ours, its = os.openpty()
    with start(tmp_path / "data", stderr=its) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # its end
            while block := os.read(ours, 4096):
                shown += block
    os.close(ours)

    assert process.returncode == 0
    assert b"mnist.npz" in shown and b"1.6/1.6 MB" in shown and b"staged mnist: 1.6 MB" in shown
    assert b"mnist.npz: 0.8 of" not in shown


def test_killed_download_is_continued(start, site, tmp_path):
    site.pause = threading.Event()
    first = start(tmp_path / "data")
    wait_for_bytes(tmp_path / "data", first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    have = (tmp_path / "data/.mnist.npz.staging/mnist.npz.part").stat().st_size
    assert names(tmp_path / "data")[-1].endswith("mnist.npz.part.etag") or have
    assert not (tmp_path / "data/mnist.npz").exists()
    site.pause = None

    second = start(tmp_path / "data")
    out, err = second.communicate()

    assert (second.returncode, out) == (0, f"{tmp_path}/data/mnist.npz\n"), err
    assert [wanted for _, wanted in site.asked] == ["", f"bytes={have}-"]
    assert (tmp_path / "data/mnist.npz").read_bytes() == MNIST
    assert names(tmp_path / "data") == ["mnist.npz", "mnist.npz.sha256"]


def test_two_processes_fetch_once(start, site, tmp_path):
    pause = site.pause = threading.Event()
    first = start(tmp_path / "data")
    wait_for_bytes(tmp_path / "data", first)
    second = start(tmp_path / "data")
    waiting = second.stderr.readline()
    pause.set()

    answers = [first.communicate(), second.communicate()]

    assert waiting == "another hpcdl is staging mnist.npz; waiting for it\n"
    assert [process.returncode for process in (first, second)] == [0, 0], answers
    assert "staged already, and unchanged" in answers[1][1]
    assert len(site.asked) == 1
    assert names(tmp_path / "data") == ["mnist.npz", "mnist.npz.sha256"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "hpcdl-test", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_missing_disk_space_is_checked_first(cli, site, known, small_disk):
    """Too little free space is reported before anything is written."""
    answer = cli("data", "stage", "mnist", "--mirror", site.url, "--data-root", small_disk)

    assert (answer.code, answer.out) == (1, "")
    assert (
        f"no room for mnist.npz in {small_disk}: 1.6 MB are still to come, and 1.0 MB are free"
        in answer.err
    )
    assert names(small_disk) == []


def test_full_disk_keeps_partial_download(cli, site, known, small_disk, monkeypatch, tmp_path):
    """When the disk fills up, the part is kept and continued after space is freed."""
    monkeypatch.setattr(
        "hpcdl.staging.fetch._check_room", lambda *_: None
    )  # another one's files came later

    answer = cli("data", "stage", "mnist", "--mirror", site.url, "--data-root", small_disk)

    assert (answer.code, answer.out) == (1, "")
    assert "No space left on device" in answer.err and f"data_root is {small_disk}" in answer.err
    assert not (small_disk / "mnist.npz").exists()
    assert (small_disk / ".mnist.npz.staging/mnist.npz.part").stat().st_size > 500_000

    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    assert cli("data", "stage", "mnist", "--mirror", site.url, "--data-root", small_disk).code == 0
    assert site.asked[-1][1].startswith("bytes=")
    assert (small_disk / "mnist.npz").read_bytes() == MNIST


@pytest.mark.parametrize("file_size", [0, 1000])
def test_quota_reached(start, tmp_path, file_size):
    """A limit of the size of files stands for a quota: writing fails there, whatever is free."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    process = start(tmp_path / "data", limit)
    out, err = process.communicate()

    assert (process.returncode, out) == (1, "")
    assert "cannot stage mnist" in err and "File too large" in err and "Traceback" not in err
    assert not (tmp_path / "data/mnist.npz").exists()


def test_data_root_is_not_writable(cli, site, known, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    answer = cli("data", "stage", "mnist", "--mirror", site.url, "--data-root", small_disk)

    assert (answer.code, answer.out) == (1, "")
    assert (
        f"cannot stage mnist: {small_disk}/.mnist.npz.staging: Read-only file system" in answer.err
    )
    assert f"data_root is {small_disk}" in answer.err
    assert site.asked == []


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("mnits",), "'mnits' is not a known set; did you mean mnist?"),
        (("VGG16",), "did you mean weights/VGG16?"),
        (
            ("weights/VGG17",),
            "'VGG17' is neither an architecture of keras.applications nor a file it looks for",
        ),
        (("weights/../../evil",), "is neither an architecture"),
        (("mnist", "--include-top"), "--include-top is for weights; 'mnist' is a data set"),
        (("mnist", "--mirror", "ftp://x/y"), "http:// or https://; got 'ftp://x/y'"),
        (("mnist", "--mirror", "file:///etc"), "http:// or https://; got 'file:///etc'"),
        (("digits", "--mirror", "http://x"), "digits is not fetched"),
    ],
    ids=["typo", "architecture", "unknown", "escape", "top", "ftp", "file", "embedded"],
)
def test_wrong_arguments_fetch_nothing(cli, tmp_path, argv, part):
    answer = cli("data", "stage", *argv, "--data-root", tmp_path / "data")

    assert (answer.code, answer.out) == (2, "")
    assert part in answer.err
    assert names(tmp_path) == []


def test_catalogue_files_have_place_and_url():
    """As Keras asks for them: names in its cache, addresses by https, checksums where it has them."""
    files = [source for sources in catalogue.SETS.values() for source in sources]
    for architecture in weights.ARCHITECTURES:
        for top in (True, False):
            files += weights.sources(architecture, top)
    assert len({source.file for source in files}) == len(files) > 150
    for source in files:
        assert source.url.startswith("https://") and not source.file.startswith(("/", "."))
        if not source.file.startswith("mobilenet_"):
            assert len(source.digest) in (32, 64), source
    assert set(cifar.LAYOUTS) <= set(catalogue.SETS)


def test_fetch_raises_documented_errors(tmp_path, site, known):
    site.files.clear()

    with pytest.raises(HpcdlError, match="404"):
        staging.stage("mnist", tmp_path / "data", mirror=site.url)
