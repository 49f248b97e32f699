"""The workers of a training on several nodes: one process a node, as TF_CONFIG names them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Sequence, Tuple

from hpcdl.contract.errors import DeviceError

VARIABLE = "TF_CONFIG"
_JOB = "worker"
_HINT = "hpcdl sets {} itself where a job has several nodes; take it out of env".format(VARIABLE)


@dataclass(frozen=True)
class Workers:
    """The workers of a run, as one of them sees them.

    addresses: ``host:port`` of each, by rank; empty if there is one worker only.
    rank: the number of this worker, from 0.
    """

    addresses: Tuple[str, ...] = ()
    rank: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return max(1, len(self.addresses))

    @property
    def first(self) -> bool:
        """Whether this is worker 0, which decides for all and writes the run's files."""
        return self.rank == 0


def read_workers(variables: Mapping[str, str]) -> Workers:
    """The workers that TF_CONFIG names; one that is alone without it, or if it names no other.

    Args:
        variables: the environment of the process.

    Raises:
        DeviceError: TF_CONFIG is not such a text; the message says what is wrong.
    """
    text = variables.get(VARIABLE, "")
    if not text.strip():
        return Workers()
    try:
        config = json.loads(text)
        addresses, rank = _addresses(config), _rank(config)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DeviceError(
            "{} is {!r}; expected JSON like {}: {}".format(
                VARIABLE, text, to_tf_config(["n1:2000", "n2:2000"], 0), error
            ),
            _HINT,
        )
    if len(addresses) < 2:
        return Workers()
    if not 0 <= rank < len(addresses):
        message = "{} says that this is worker {}; expected 0 to {}"
        raise DeviceError(message.format(VARIABLE, rank, len(addresses) - 1), _HINT)
    return Workers(addresses, rank)


def _addresses(config: Dict[str, Any]) -> Tuple[str, ...]:
    cluster = config.get("cluster") or {}
    others = sorted(set(cluster) - {_JOB})
    if others:
        raise ValueError("its cluster has {}".format(", ".join(others)))
    addresses = cluster.get(_JOB, [])
    if not isinstance(addresses, list):
        raise ValueError("its workers are not a list")
    for address in addresses:
        if not isinstance(address, str) or ":" not in address:
            raise ValueError("{!r} is not host:port".format(address))
    if len(set(addresses)) < len(addresses):
        raise ValueError("it names an address twice")
    return tuple(addresses)


def _rank(config: Dict[str, Any]) -> int:
    task = config.get("task") or {}
    if task.get("type", _JOB) != _JOB:
        raise ValueError("its task is a {}".format(task["type"]))
    return int(task.get("index", 0))


def to_tf_config(addresses: Sequence[str], rank: int) -> str:
    """The text of TF_CONFIG for one worker.

    Args:
        addresses: ``host:port`` of each worker, by rank.
        rank: the number of this worker, from 0.
    """
    task = {"type": _JOB, "index": rank}
    return json.dumps({"cluster": {_JOB: list(addresses)}, "task": task})
