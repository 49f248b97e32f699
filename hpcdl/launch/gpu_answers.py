"""What nvidia-smi, amd-smi and rocm-smi print of GPUs, as records. Pure.

None of them promises that its output stays as it is. So values are looked up by the names that were
asked for, and what is not a number, such as [N/A] or [Unknown Error], is not known.

Sources: nvidia-smi(1), "--query-gpu"; NVML's nvmlClocksEventReasons; the pages of amd-smi and
rocm-smi at rocm.docs.amd.com.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcdl.run.device_samples import Gpu

_MIB = 1024**2
NVIDIA_FIELDS = (
    "index",
    "uuid",
    "name",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "power.draw",
    "power.limit",
)
MEMORY_ERRORS = "ecc.errors.uncorrected.volatile.total"
# Newer drivers know the first name, older ones the second; they refuse a query with an unknown name
REASON_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
_REASONS = {
    0x4: "its power limit",
    0x8: "the hardware",
    0x20: "heat",
    0x40: "heat",
    0x80: "its power supply",
}


@dataclass(frozen=True)
class GpuReading:
    """What a tool says of one GPU.

    Args:
        names: by which CUDA_VISIBLE_DEVICES may name it: its number, its UUID.
        gpu: what it is.
        use: the percentage of the last second in which it computed anything.
        memory_mb: its memory in use, in MiB.
        power_w: the power that it draws, in watts.
        held_back: why it is slower than it can be.
        memory_errors: memory errors that could not be corrected, since it was started.
    """

    names: Sequence[str]
    gpu: Gpu
    use: float | None = None
    memory_mb: float | None = None
    power_w: float | None = None
    held_back: Sequence[str] = ()
    memory_errors: float | None = None


def nvidia_reading(line: str, fields: Sequence[str]) -> GpuReading | None:
    """A line of ``nvidia-smi --query-gpu=FIELDS --format=csv,noheader,nounits``.

    Returns:
        None if it is another line, such as an error's.
    """
    cells = next(csv.reader([line], skipinitialspace=True), [])
    if len(cells) != len(fields):
        return None
    values = dict(zip(fields, cells, strict=True))
    if not values["index"].isdigit():
        return None
    mask = 0
    for name in REASON_FIELDS:
        mask |= _mask(values.get(name, ""))
    reasons = {reason: True for bit, reason in _REASONS.items() if mask & bit}
    gpu = Gpu(values["name"], _number(values["memory.total"]), _number(values["power.limit"]))
    return GpuReading(
        names=(values["index"], values["uuid"]),
        gpu=gpu,
        use=_number(values["utilization.gpu"]),
        memory_mb=_number(values["memory.used"]),
        power_w=_number(values["power.draw"]),
        held_back=tuple(reasons),
        memory_errors=_number(values.get(MEMORY_ERRORS)),
    )


def rocm_readings(text: str) -> list[GpuReading]:
    """What ``rocm-smi --json`` says with the options of `hpcdl.launch.gpu_reader`."""
    readings = []
    for card, keys in _mapping(_json(text)).items():
        if not card.startswith("card") or not isinstance(keys, Mapping):
            continue
        memory = _number(_with(keys, "vram total memory (b)"))
        used = _number(_with(keys, "vram total used memory (b)"))
        name = _with(keys, "card series") or _with(keys, "card model") or ""
        power = _number(_with(keys, "average graphics package power"))
        if power is None:
            power = _number(_with(keys, "current socket graphics package power"))
        limit = _number(_with(keys, "max graphics package power"))
        readings.append(
            GpuReading(
                names=(card.removeprefix("card"), str(_with(keys, "unique id"))),
                gpu=Gpu(str(name), _in_mib(memory), limit),
                use=_number(_with(keys, "gpu use")),
                memory_mb=_in_mib(used),
                power_w=power,
            )
        )
    return readings


def amd_readings(text: str) -> list[GpuReading]:
    """What ``amd-smi metric --json`` says."""
    content = _json(text)
    cards = content
    if isinstance(content, Mapping):
        cards = content.get("gpu_data")  # newer releases
    readings = []
    for card in cards if isinstance(cards, list) else []:
        if not isinstance(card, Mapping):
            continue
        memory = _mapping(card.get("mem_usage"))
        readings.append(
            GpuReading(
                names=(str(card.get("gpu")),),
                gpu=Gpu("", _number(memory.get("total_vram"))),
                use=_number(_mapping(card.get("usage")).get("gfx_activity")),
                memory_mb=_number(memory.get("used_vram")),
                power_w=_number(_mapping(card.get("power")).get("socket_power")),
                memory_errors=_number(_mapping(card.get("ecc")).get("total_uncorrectable_count")),
            )
        )
    return readings


def chosen(readings: Sequence[GpuReading], visible: str | None) -> list[GpuReading]:
    """The GPUs that a job may use; all if none is named so.

    A job that is kept from other GPUs sees its own alone, numbered anew. A part of a GPU (MIG) has
    a name of its own.

    Args:
        readings: of all GPUs that the tool sees.
        visible: the value of CUDA_VISIBLE_DEVICES or its like; None if it is not set.
    """
    names = {name.strip() for name in (visible or "").split(",")} - {""}
    own = [reading for reading in readings if names & set(reading.names)]
    return own or list(readings)


def _mask(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _number(value: Any) -> float | None:
    """A number, or a number with its unit: ``{"value": 12, "unit": "%"}``; else None."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _in_mib(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / _MIB


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _with(keys: Mapping[str, Any], words: str) -> Any:
    """The value of the first key that has these words in it: units in the keys differ."""
    for key, value in keys.items():
        if words in key.lower():
            return value
    return None


def _json(text: str) -> Any:
    """The JSON in a tool's output, behind its warnings; None if there is none."""
    for start in _line_starts(text):
        if text[start : start + 1] in ("{", "["):
            try:
                value, _ = json.JSONDecoder().raw_decode(text, start)
            except (ValueError, RecursionError):
                continue
            return value
    return None


def _line_starts(text: str) -> Iterator[int]:
    start = 0
    while start < len(text):
        yield start
        start = text.find("\n", start) + 1 or len(text)
