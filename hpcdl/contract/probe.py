"""What ``hpcdl check --probe`` and the trainer share: how it is asked for, and where the answer is.

Each worker writes the file into its own folder: ``node``; ``devices``, their names; ``strategy``;
``replicas``; ``versions`` by name; ``all_reduce_s``, the seconds of the first all-reduce, which
connects the GPUs (null with one replica); ``mb`` and ``again_s``, the size of a larger one that
follows, and its seconds.

``hpcdl cluster test`` asks for more: see `SITE_FILE` and `PACE`.
"""

from __future__ import annotations

VARIABLE = "HPCDL_PROBE"  # set to 1: the trainer looks at its devices, and trains nothing
FILE = "probe.json"

SITE = "HPCDL_PROBE_SITE"  # set to 1: the probe looks at its node first
# What it saw: ``started`` (unix time of the program's first lines); ``node``; ``python``;
# ``variables`` of SLURM and of the GPUs; ``smi``, the GPUs as the driver lists them, with
# ``driver`` and ``driver_cuda``; ``cuda`` of the image's TensorFlow; ``scratch`` and ``data_root``,
# each with an ``error`` or with its figures
SITE_FILE = "site.json"

# Seconds that each step takes at least in a run's first attempt: SLURM's warning then comes while
# the training is under way, however fast the machine is
PACE = "HPCDL_PACE_S"
