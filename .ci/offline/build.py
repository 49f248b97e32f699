"""Builds hpcdl's installers for machines without internet, and their sums: make offline.

    python .ci/offline/build.py [--arch x86_64] [--python 3.11] [--preset 6] [--output build]

--arch and --python may come several times; without them a file has all Pythons, and there is one
for each kind of machine. What a release says of the files' sizes is in docs/no-internet.md.
"""

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

from packaging.utils import parse_wheel_filename
from payload import pack
from wheels import KNOWN_TO_LACK, PYTHONS, REPOSITORY, NoWheelsError, own_wheel, wheels_of

HERE = Path(__file__).parent
ARCHES = ("x86_64", "aarch64")
LIMIT_BYTES = 40_000_000
DIGITS = 10  # room for each number in the installer's head: its length is known before they are


def main(argv: list[str]) -> int:
    """Build what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arch", action="append", choices=ARCHES)
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--preset", type=int, default=6, help="xz's effort, 0 to 9")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        own = own_wheel(Path(folder))
        sums = [build(arch, own, options) for arch in options.arch or ARCHES]
    (options.output / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return 0


def build(arch: str, own: Path, options: argparse.Namespace) -> str:
    """Write the file for one kind of machine; its line of SHA256SUMS."""
    begin = time.monotonic()
    version = str(parse_wheel_filename(own.name)[1])
    wheels = {}
    for python in options.python or PYTHONS:
        try:
            wheels[python] = [own, *wheels_of(arch, python)]
        except NoWheelsError as lack:
            if (arch, python) not in KNOWN_TO_LACK:
                sys.exit(f"no wheels for {lack}")
            print(f"without Python {python} on {arch}: {KNOWN_TO_LACK[arch, python]}")
    content = installer(version, arch, list(wheels), pack(version, wheels, options.preset))
    if len(content) >= LIMIT_BYTES:
        sys.exit(f"the file for {arch} has {len(content)} bytes, and the limit is {LIMIT_BYTES}")
    path = options.output / f"hpcdl-{version}-linux-{arch}.run"
    path.write_bytes(content)
    path.chmod(0o755)
    seconds = time.monotonic() - begin
    print(f"{path}: {len(content) / 1e6:.1f} MB, Python {' '.join(wheels)} ({seconds:.0f} s)")
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"


def installer(version: str, arch: str, pythons: list[str], packed: bytes) -> bytes:
    """The whole file: the shell's part, the program, the packed wheels."""
    program = (HERE / "install.py").read_bytes()
    head = (HERE / "installer.sh").read_text(encoding="utf-8")
    for name, text in (("VERSION", version), ("ARCH", arch), ("PYTHONS", " ".join(pythons))):
        head = head.replace(f"@{name}@", text)
    zeros = "0" * 64
    length = len(numbered(head, zeros, 0, 0, 0))
    code, wheels = length, length + len(program)
    size = wheels + len(packed)
    unsummed = numbered(head, zeros, size, code, wheels) + program + packed
    total = hashlib.sha256(unsummed).hexdigest()
    return numbered(head, total, size, code, wheels) + program + packed


def numbered(head: str, total: str, size: int, code: int, wheels: int) -> bytes:
    """The shell's part with the sum and the places in the file."""
    head = head.replace("@SUM@", total)
    for name, number in (("SIZE", size), ("CODE", code), ("WHEELS", wheels)):
        text = f"'{number}'".ljust(DIGITS + 2)
        head = head.replace(f"'@{name}@'", text)
    return head.encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
