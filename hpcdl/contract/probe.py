"""What ``hpcdl check --probe`` and the trainer share: how it is asked for, and where the answer is.

Each worker writes the file into its own folder: ``node``; ``devices``, their names; ``strategy``;
``replicas``; ``versions`` by name; ``all_reduce_s``, the seconds of the first all-reduce, which
connects the GPUs (null with one replica); ``mb`` and ``again_s``, the size of a larger one that
follows, and its seconds.
"""

from __future__ import annotations

VARIABLE = "HPCDL_PROBE"  # set to 1: the trainer looks at its devices, and trains nothing
FILE = "probe.json"
