"""Writes devices.jsonl, and merges its older samples when it grows too large."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcdl.files import append_json_line, write_text
from hpcdl.run.device_samples import Devices, Sample, Values, merged, read_devices

LIMIT_BYTES = 256 * 1024  # when the file is larger, its older samples are merged
_NEWEST = 60  # samples that are never merged: what `hpcdl status` looks at
_LONGEST_S = 1e7  # of a merged sample


class SampleFile:
    """devices.jsonl, while samples are added to it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._devices: Devices | None = None

    def add(self, devices: Devices, sample: Sample) -> None:
        """Add a sample, and before it a line on the devices if they are new.

        Raises:
            OSError: it cannot be written.
        """
        if self._devices is None and self._path.exists():
            self._devices, _ = read_devices(self._path)
        if devices != self._devices:
            append_json_line(self._path, _devices_line(devices))
            self._devices = devices
        append_json_line(self._path, _sample_line(sample))
        if self._path.stat().st_size > LIMIT_BYTES:
            _, samples = read_devices(self._path)
            samples = thinned(samples, LIMIT_BYTES // 2)
            lines = [_devices_line(devices), *map(_sample_line, samples)]
            write_text(self._path, "".join(map(_as_text, lines)))


def thinned(samples: Sequence[Sample], most_bytes: int) -> list[Sample]:
    """Fewer samples: the older ones are merged until all fit.

    Args:
        samples: in order.
        most_bytes: what their lines may take.
    """
    newest = list(samples[-_NEWEST:])
    older = list(samples[:-_NEWEST])
    longest_s = 2 * min((sample.seconds for sample in samples), default=1.0) or 1.0
    while longest_s < _LONGEST_S and _size([*older, *newest]) > most_bytes:
        older = list(_merged(older, longest_s))
        longest_s *= 2
    return [*older, *newest]


def _size(samples: Sequence[Sample]) -> int:
    return sum(len(_as_text(_sample_line(sample))) for sample in samples)


def _merged(samples: Sequence[Sample], longest_s: float) -> Iterator[Sample]:
    """Neighbours as one sample, as long as they span no more than `longest_s`."""
    group: list[Sample] = []
    group_s = 0.0
    for sample in samples:
        if group and group_s + sample.seconds > 1.05 * longest_s:
            yield merged(group)
            group, group_s = [], 0.0
        group.append(sample)
        group_s += sample.seconds
    if group:
        yield merged(group)


def _devices_line(devices: Devices) -> dict[str, Any]:
    return {**vars(devices), "gpus": [vars(gpu) for gpu in devices.gpus]}


def _sample_line(sample: Sample) -> dict[str, Any]:
    """A sample as it is written: short numbers, and no key without a value."""
    line: dict[str, Any] = {"attempt": sample.attempt, "time": round(sample.time)}
    for name, value in vars(sample).items():
        if name in line or value is None or (not value and name not in ("cpus", "read_mb_s")):
            continue
        if isinstance(value, Mapping):
            line[name] = {reason: _short(values) for reason, values in value.items()}
        elif isinstance(value, Sequence):
            line[name] = _short(value)
        else:
            line[name] = round(value, 2)
    return line


def _short(values: Values) -> list[float | None]:
    return [None if value is None else round(value, 1) for value in values]


def _as_text(line: dict[str, Any]) -> str:
    return json.dumps(line, sort_keys=True) + "\n"
