"""What differs between the makers of GPUs: options, variables, drivers.

Sources: apptainer-exec(1) for ``--nv`` and ``--rocm``; gres.conf(5) for the variables. ROCm applies
CUDA_VISIBLE_DEVICES to what ROCR_VISIBLE_DEVICES leaves, so a program gets only one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuVendor:
    """A maker of GPUs.

    Args:
        name: the profile's word for it.
        title: its name for people.
        option: Apptainer's option that lets a container use its driver.
        variable: which GPUs a program may use.
        driver: the file that exists where its driver is loaded.
    """

    name: str
    title: str
    option: str
    variable: str
    driver: str


NVIDIA = GpuVendor("nvidia", "NVIDIA", "--nv", "CUDA_VISIBLE_DEVICES", "/dev/nvidiactl")
AMD = GpuVendor("amd", "AMD", "--rocm", "ROCR_VISIBLE_DEVICES", "/dev/kfd")
# As in mi250, amd_mi300a, instinct-mi210 and gfx90a: what gres.conf's AutoDetect or a site writes
_AMD_TYPE = re.compile(r"(amd|instinct|radeon)[_-].+|mi\d{2,3}[a-z]?|gfx\d+[a-z]?")
VENDORS = {vendor.name: vendor for vendor in (NVIDIA, AMD)}


def is_amd(gpu_type: str) -> bool:
    """Whether SLURM's type of a GPU, such as mi250 or amd_mi300a, is the name of one of AMD's."""
    return _AMD_TYPE.fullmatch(gpu_type.lower()) is not None
