"""Texts about a job in the words of a batch script."""

from __future__ import annotations

import re

# How a job's words are called in a batch script
_WORDS = (
    (r"--set cluster\.(account|partition|qos|clusters)=", r"#SBATCH --\1="),
    (r"--set resources\.time=", "#SBATCH --time="),
    (r"--set resources\.nodes=", "#SBATCH --nodes="),
    (r"--set resources\.gpus=", "#SBATCH --gpus-per-node="),
    (r"--set resources\.cpus=", "#SBATCH --cpus-per-task="),
    (r"\bresources\.time\b", "--time"),
    (r"\bresources\.nodes\b", "--nodes"),
    (r"\bresources\.gpus\b", "--gpus-per-node"),
    (r"\bresources\.cpus\b", "--cpus-per-task"),
    (r"\bresources\.memory_gb\b", "--mem"),
    (r"\b(correct|look at) binds in the profile\b", r"\1 --bind in that line"),
    (r"\bthe profile names no partition\b", "the script names no partition"),
    (r"read what would be sent: hpcdl submit --dry-run", "correct that #SBATCH line"),
    (r", or correct it in the profile", ""),
    (r"\b1 (GPU|CPU|node)s( of type \S+)? are asked for", r"1 \1\2 is asked for"),
    (r", but no node here has more than 0\b", ", and no node here has one"),
    (r"\bargs\[\d+\] is\b", "an argument is"),
    (
        r"use TF_CONFIG, which hpcdl sets there, as MultiWorkerMirroredStrategy does",
        "set TF_CONFIG on each node, which MultiWorkerMirroredStrategy reads; hpcdl adopt makes "
        "a job of this script, where hpcdl sets it",
    ),
    (r"\bleave gpu_type out\b", "leave the type of the GPUs out: #SBATCH --gres=gpu:N"),
    (r"--set cluster\.gpu_type=(\S+)", r"#SBATCH --gres=gpu:TYPE:N with TYPE \1"),
)


def printable(text: str) -> str:
    """A text without the bytes of another encoding, which no terminal takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def in_words(text: str) -> str:
    """A text about a job in a batch script's words."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return printable(text)
