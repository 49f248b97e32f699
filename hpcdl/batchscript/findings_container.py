"""What is wrong with a container's command: --nv and GPUs, docker:// in a job, ~/.local."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hpcdl.batchscript.launchers import APART
from hpcdl.batchscript.model import BatchScript, Container, Directive, Program, ScriptFinding
from hpcdl.batchscript.sizes import asks_gpus
from hpcdl.batchscript.surroundings import Surroundings
from hpcdl.text import cut, one_line

_GPU_SUPPORT = ("nv", "nvccli", "rocm")
_ADDRESS = re.compile(r"(?:docker|oras|library|shub|docker-daemon)://")
# Programs beside Python that may compute; others, such as ls, need no GPU
_COMPUTING = ("bash", "sh", "torchrun", "accelerate", "horovodrun", "deepspeed", "nvidia-smi")
# Partitions such as standard-g and small-g are LUMI's
_OF_AMD = re.compile(
    r"rocm|(?<![a-z])(?:amd|hip|lumi)(?![a-z])|(?<![a-z\d])mi\d{2,3}[ax]?(?![a-z\d])|\w-g$",
    re.IGNORECASE,
)
# Names of partitions and features behind which nodes have GPUs that need not be asked for
_OF_GPUS = re.compile(
    r"gpu|cuda|acc|boost|dgx|nvidia|rtx|tesla|volta|ampere|hopper|[abghlkpvt]h?\d{2,3}|mi\d{3}",
    re.IGNORECASE,
)


def container_findings(script: BatchScript, around: Surroundings) -> Iterator[ScriptFinding]:
    """What is wrong with the containers that a script starts."""
    contained = [p for p in script.programs if p.container and not is_unread(script, p)]
    yield from _gpu_findings(script, contained, around)
    for program in contained:
        yield from _address(program)
    yield from _home(script, contained, around)


def is_unread(script: BatchScript, program: Program) -> bool:
    """Whether a program stands where the parser could not read all."""
    line = program.command.line
    return any(first <= line <= last for first, last in script.unread)


def _gpu_findings(
    script: BatchScript, contained: list[Program], around: Surroundings
) -> Iterator[ScriptFinding]:
    """GPUs asked for and no --nv, or the other way round."""
    with_nv = [p for p in contained if p.container and p.container.has(*_GPU_SUPPORT)]
    is_on = _is_on_by_variable(script) or _may_be_amd(script, around)
    if asks_gpus(script) and not with_nv and not is_on:
        for program in contained:
            if _wants_gpu(program):
                yield ScriptFinding(
                    "gpus-without-nv",
                    program.container_command.line,
                    "the job asks for GPUs, and without --nv the container sees none of them",
                    f"with --nv (or --rocm, for AMD's): {_with_nv(script, program)}",
                )
    if with_nv and not asks_gpus(script) and not _may_have_gpus(script):
        first = with_nv[0]
        yield ScriptFinding(
            "nv-without-gpus",
            first.container_command.line,
            "the container is started with --nv, and no directive asks for a GPU",
            "ask for one: #SBATCH --gres=gpu:1, or leave --nv out",
        )


def _may_be_amd(script: BatchScript, around: Surroundings) -> bool:
    """Whether the GPUs may be AMD's: their devices are there without an option.

    Their images have the rest.
    """
    if around.gpu_vendor == "amd":
        return True
    texts: list[str] = []
    for directive in filter(_is_of_place, script.directives):
        texts.append(directive.value or "")
    for program in script.programs:
        if program.container is not None and program.container.image is not None:
            texts += [program.container.image.raw, program.container.image.written]
    for command in script.commands:
        if command.name in ("module", "ml"):
            texts.append(command.text)
    for assignment in script.assignments:
        texts.append(assignment.word.raw)
    return any(map(_OF_AMD.search, texts))


def _is_of_place(directive: Directive) -> bool:
    return directive.name.startswith(("gres", "gpus", "partition", "constraint", "clusters"))


def _is_on_by_variable(script: BatchScript) -> bool:
    names = {assignment.name for assignment in script.assignments}
    names |= {name for command in script.commands for name, _ in command.env}
    return bool(
        names
        & {
            f"{kind}_{what}"
            for kind in ("SINGULARITY", "APPTAINER")
            for what in ("NV", "NVCCLI", "ROCM")
        }
    )


def _wants_gpu(program: Program) -> bool:
    """Whether a container's program may use a GPU: a script, a program, or the image's own."""
    container = program.container
    if program.command.substituted or not (container and container.is_sure):
        return False
    if container.image and container.image.raw.strip("\"'").startswith("instance://"):
        return False  # its start decides
    if program.python is not None:
        module = program.module.text if program.module else None
        return program.script is not None or module not in (None, "pip", "venv")
    name = program.words[0].text if program.words else ""
    is_default = not program.words and container.verb == "run"
    return is_default or name in _COMPUTING or (name or "").startswith(("./", "/"))


def _with_nv(script: BatchScript, program: Program) -> str:
    """The line with the container's command, and --nv."""
    verb = program.container.verb if program.container else "exec"
    command = program.container_command
    for number in range(command.line, command.end_line + 1):
        written = script.line(number).strip()
        line = written.rstrip("\\").strip()
        place = _place_of_verb(line, program)
        if place is not None:
            with_nv = f"{line[:place]} --nv{line[place:]}"
            return cut(one_line(with_nv)) + " \\" * (line != written)
    return f"{verb} --nv"


def _place_of_verb(line: str, program: Program) -> int | None:
    """Where exec ends in a line: the last one before the container's image."""
    container = program.container
    if container is None:
        return None
    image = container.image.raw.strip("\"'") if container.image is not None else ""
    first, last = None, None
    for match in re.finditer(rf"\b{container.verb}\b", line):
        first = first or match.end()
        if image and match.end() < line.find(image):
            last = match.end()
    return last or first


def _may_have_gpus(script: BatchScript) -> bool:
    """Whether the job may get GPUs in a way of the site's: by partition, or with whole nodes."""
    names = ("partition", "constraint", "qos", "nodelist", "reservation", "clusters")
    if script.components > 1 or script.directive("exclusive"):
        return True
    if any(_OF_GPUS.search(script.value(name) or "") for name in names):
        return True
    launchers = [launcher for program in script.programs for launcher in program.launchers]
    return any(name.startswith(("gpus", "gres")) for one in launchers for name in one.options)


def _address(program: Program) -> Iterator[ScriptFinding]:
    """An image that is fetched while the job has its nodes."""
    image = program.container.image if program.container else None
    if image is None:
        return
    text = image.text if image.text is not None else image.raw.strip("\"'")
    if _ADDRESS.match(text):
        name = re.split(r"[/:@]", text.rstrip("/"))
        file = f"{(name[-2] if ':' in text[8:] else name[-1]) or 'image'}.sif"
        tool = program.container.name if program.container else "apptainer"
        yield ScriptFinding(
            "docker-at-run-time",
            program.container_command.line,
            f"the job fetches {cut(one_line(text))} while its nodes are waiting, at each start; "
            "most compute nodes reach no registry",
            f"once, on the login node: {tool} pull {file} {cut(one_line(text))}; here: {file}",
        )


def _home(
    script: BatchScript, contained: list[Program], around: Surroundings
) -> Iterator[ScriptFinding]:
    """Packages in ~/.local, which Python in a container takes before the image's."""
    pythons = [p for p in contained if _is_python(p) and not _is_apart(script, p)]
    for program in pythons:
        if _installs_into_home(program):
            yield ScriptFinding(
                "shadowing-home",
                program.command.line,
                "it installs into ~/.local of your home, which every container then takes before "
                "its own packages",
                "put packages beside the image: pip install --target FOLDER, and "
                "export PYTHONPATH=FOLDER; or build an image that has them",
            )
            return
    folder = _site_packages(around.home)
    if folder is None or not pythons:
        return
    program = pythons[0]
    name = program.container.name if program.container else "apptainer"
    variable = "SINGULARITYENV" if name == "singularity" else "APPTAINERENV"
    yield ScriptFinding(
        "shadowing-home",
        program.container_command.line,
        f"Python in the container takes packages of {folder} before the image's",
        f"a line above: export {variable}_PYTHONNOUSERSITE=1, or: {name} exec --no-home",
    )


def _is_python(program: Program) -> bool:
    return program.python is not None or program.name in ("pip", "pip3")


def _installs_into_home(program: Program) -> bool:
    words = [word.text for word in program.words]
    return "install" in words and "--user" in words


def _is_apart(script: BatchScript, program: Program) -> bool:
    """Whether what lies in the user's home does not count in a container."""
    container = program.container
    if container is None or container.has(*APART) or _no_user_site(script, program, container):
        return True
    if any("PYTHONNOUSERSITE" in w.raw for wrapper in program.wrappers for w in wrapper.words):
        return True  # env PYTHONNOUSERSITE=1 python
    if {"source", ".", "conda"} & _names_beside(script, program):
        return True  # an environment of its own, which may leave it out
    return any(
        (w.text or "").startswith("-")
        and set((w.text or "")[1:]) & set("sI")
        and not (w.text or "").startswith("--")
        for w in program.python_options
    )


def _no_user_site(script: BatchScript, program: Program, container: Container) -> bool:
    """Whether PYTHONNOUSERSITE reaches the container."""
    name = "PYTHONNOUSERSITE"
    if any(name in (value.text or value.raw) for value in container.values("env")):
        return True
    given = {n for command in (program.command, *program.starters) for n, _ in command.env}
    given |= {a.name for a in script.assignments if a.exported and a.word.text != ""}
    if given & {f"SINGULARITYENV_{name}", f"APPTAINERENV_{name}"}:
        return True
    return name in given and (not container.has("cleanenv") or _is_set_inside(script, program))


def _is_set_inside(script: BatchScript, program: Program) -> bool:
    """Whether a shell in the container may set variables itself."""
    return bool({"export", "source", "."} & _names_beside(script, program))


def _names_beside(script: BatchScript, program: Program) -> set[str]:
    """The commands of the shell in a container that starts a program."""
    starter = program.command.starter
    if not program.command.is_inside:
        return set()
    return {command.name for command in script.commands if command.starter is starter}


def _site_packages(home: Path | None) -> Path | None:
    """A folder of packages in the user's home that has some."""
    if home is None:
        return None
    try:
        folders = sorted((home / ".local" / "lib").glob("python3*/site-packages"))
        return next((folder for folder in folders if any(folder.iterdir())), None)
    except OSError:
        return None
