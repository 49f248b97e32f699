"""On the compute node: runs one attempt of a run in its container and writes down how it ended.

submitit's worker calls `launch` with the run folder's path; that is all the
pickle holds, so it can be run again after a requeue.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hpcdl.container import Places, command, environment
from hpcdl.files import append_json_line, read_json, read_json_lines, write_json
from hpcdl.planning import Plan
from hpcdl.run import causes
from hpcdl.run.paths import RunPaths
from hpcdl.trainer.spec import EXIT_STOPPED


def launch(run: str) -> None:
    """Run one attempt.

    Args:
        run: the run folder.

    Raises:
        SystemExit: 75 where the job is to be requeued, the program's status where it failed.
    """
    status = _attempt(RunPaths(Path(run)), os.environ.get("SLURM_JOB_ID"))
    if status:
        sys.exit(status)


def launch_local(run: str) -> None:
    """Run attempts on this machine until one does not ask to be run again.

    Args:
        run: the run folder.

    Raises:
        SystemExit: as `launch`.
    """
    paths = RunPaths(Path(run))
    while (status := _attempt(paths, None)) == EXIT_STOPPED:
        paths.stop.unlink(missing_ok=True)
    if status:
        sys.exit(status)


def read_plan(paths: RunPaths) -> Plan:
    """The plan that was frozen with a run."""
    import msgspec

    return msgspec.json.decode(paths.plan.read_bytes(), type=Plan)


def _attempt(paths: RunPaths, job_id: str | None) -> int:
    """One attempt; gives the status to end with."""
    if paths.cancelled.exists():
        print("this run was cancelled; nothing is started", flush=True)
        return 0
    plan = read_plan(paths)
    number = 1 + sum(row.get("event") == "start" for row in read_json_lines(paths.attempts))
    started = time.time()
    row = {"attempt": number, "job_id": job_id, "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname()}
    append_json_line(paths.attempts, {**row, "event": "start", "time": started, "pid": os.getpid()})
    for old in (paths.failure, paths.result):
        old.unlink(missing_ok=True)
    print(f"attempt {number} of {paths.root} on {row['node']}", flush=True)
    terminated = _note_sigterm()
    status = _run_program(paths, plan, number)
    if terminated and status not in (0, EXIT_STOPPED):
        status = 128 + signal.SIGTERM  # a container that is still starting gives another status
    outcome = causes.of_exit_status(status, plan.script is not None, job_id is not None)
    if outcome.state == causes.STOPPED and number > plan.max_requeues:
        again = f"stopped {number} times, and max_requeues is {plan.max_requeues}"
        outcome = causes.Outcome(causes.FAILED, "time_limit", again)
    row.update(status=status, reason=outcome.state, seconds=round(time.time() - started, 3))
    row["steps"] = (read_json(paths.heartbeat) or {}).get("step")
    append_json_line(paths.attempts, {**row, "event": "end", "time": time.time()})
    if paths.cancelled.exists():
        return 0
    if outcome.state in (causes.DONE, causes.FAILED):
        _finish(paths, plan, outcome)
    print(f"attempt {number} ended: {outcome.state}, exit status {status}", flush=True)
    if outcome.state == causes.FAILED:
        return status if status > 0 and status != EXIT_STOPPED else 1
    return status


def _note_sigterm() -> list[int]:
    """A list that SIGTERM makes non-empty: SLURM sends it to every process of a job that it ends."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    return seen


def _run_program(paths: RunPaths, plan: Plan, attempt: int) -> int:
    """Start the program in its container (or here, where the plan has none) and wait for it."""
    prepare_home(paths.home, plan.data_root)
    tmp = Path(tempfile.mkdtemp(prefix="hpcdl-", dir=plan.scratch and os.path.expandvars(plan.scratch)))
    places = places_of(paths, plan, str(attempt), str(tmp))
    with paths.log(attempt).open("ab") as log:
        try:
            argv, env = argv_of(plan, places, program_of(paths, plan))
            child = subprocess.Popen(
                argv, env=env, cwd=places.workdir, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            return child.wait()
        except OSError as error:
            message = f"hpcdl: cannot start {argv[0]} on {socket.gethostname()}: {error.strerror}"
            if plan.image and error.filename == argv[0]:
                message += f" (the profile's modules are {plan.modules or 'none'}, its runtime is {plan.runtime})"
            log.write(f"{message}\n".encode())
            write_json(paths.failure, {"kind": "spec", "message": message})
            return 64
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


def places_of(paths: RunPaths, plan: Plan, attempt: str | None = None, tmp: str | None = None) -> Places:
    """Where a run's things lie on this node."""
    manifest = read_json(paths.manifest) or {}
    code = str(manifest.get("code", {}).get("folder", ""))
    trainer = plan.script is None
    return Places(
        workdir=plan.workdir or str(paths.work if plan.script else paths.root),
        home=str(paths.home),
        stop_file=str(paths.stop),
        pythonpath=f"{code}:{paths.user}" if trainer else None,
        tmp=tmp,
        binds=_binds(paths, plan, code),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        attempt=attempt,
    )


def _binds(paths: RunPaths, plan: Plan, code: str) -> list[str]:
    """What the container must see: the run, hpcdl's code, the data, the working directory."""
    binds = [str(paths.root)]
    if plan.script is None:
        binds.append(f"{code}:{code}:ro")
    elif plan.workdir:
        binds.append(plan.workdir)
    folders = [plan.data_root]
    if plan.script is None and (path := _data_path(paths)) and not Path(path).is_relative_to(plan.data_root):
        folders.append(str(Path(path).parent))
    binds += [f"{folder}:{folder}:ro" for folder in folders if Path(folder).is_dir()]
    return binds


def _data_path(paths: RunPaths) -> str | None:
    spec = read_json(paths.spec) or {}
    path = spec.get("data", {}).get("path")
    return path if isinstance(path, str) else None


def program_of(paths: RunPaths, plan: Plan) -> list[str]:
    """The program's argv: the trainer, or the frozen script with its arguments."""
    python = plan.python if plan.image else sys.executable
    if plan.script is None:
        return [python, "-m", "hpcdl.trainer", str(paths.spec)]
    return [python, str(paths.user / f"{Path(plan.script).stem}.py"), *plan.args]


def argv_of(plan: Plan, places: Places, program: list[str]) -> tuple[list[str], dict[str, str]]:
    """The whole argv for this node, and the environment to start it with."""
    if plan.image:
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("APPTAINER", "SINGULARITY"))}
        return [word for line in command(plan, places, program) for word in line], outer
    import site

    # Without a container the machine's own TensorFlow is used, which may lie in the user's site folder:
    # it is found by HOME, which changes here.
    env = dict(os.environ, PYTHONUSERBASE=site.getuserbase())
    env.update(environment(plan, places))
    env.pop("PYTHONNOUSERSITE")
    return program, env


def prepare_home(home: Path, data_root: str) -> None:
    """Make the program's home, with the staged sets and weights where Keras 2 and 3 look for them."""
    keras = home / ".keras"
    keras.mkdir(parents=True, exist_ok=True)
    for name, target in (("datasets", Path(data_root)), ("models", Path(data_root, "models"))):
        link = keras / name
        if target.is_dir() and not link.is_symlink():
            link.symlink_to(target)


def _last_words(paths: RunPaths, plan: Plan, attempt: int, outcome: causes.Outcome) -> str | None:
    """What to say of a failure: for a script also its last line, which is most often the exception."""
    if plan.script is None or outcome.cause != "user_code":
        return outcome.message
    with paths.log(attempt).open("rb") as log:
        log.seek(max(0, paths.log(attempt).stat().st_size - 4096))
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f"{outcome.message}; its last line: {lines[-1][:200]}" if lines else outcome.message


def _finish(paths: RunPaths, plan: Plan, outcome: causes.Outcome) -> None:
    """Complete what the trainer left in result.json, or write it where there is none."""
    rows = read_json_lines(paths.attempts)
    result: dict[str, Any] = read_json(paths.result) or {"schema_version": 1, "name": plan.name}
    failure = read_json(paths.failure) or {}
    submitted = read_json(paths.submitted) or {}
    manifest = read_json(paths.manifest) or {}
    result["state"] = outcome.state
    result["cause"] = outcome.cause
    if outcome.state == causes.FAILED:
        result["message"] = failure.get("message") or _last_words(paths, plan, rows[-1]["attempt"], outcome)
        result["hint"] = failure.get("hint")
        result["log"] = str(paths.log(rows[-1]["attempt"]).relative_to(paths.root))
    if plan.script is not None:
        result["script"] = {"file": plan.script, "args": plan.args}
    ends = {row["attempt"]: row for row in rows if row.get("event") == "end"}
    result["attempts"] = [
        {key: ends[n].get(key) for key in ("attempt", "job_id", "node", "reason", "status", "steps", "seconds")}
        for n in sorted(ends)
    ]
    timing = result.setdefault("timing", {})
    starts = [row["time"] for row in rows if row.get("event") == "start"]
    if "time" in submitted:
        timing["queue_s"] = round(max(0.0, starts[0] - submitted["time"]), 3)
    timing["total_s"] = round(sum(row.get("seconds", 0.0) for row in ends.values()), 3)
    result["cluster"] = {"name": plan.cluster, "backend": submitted.get("backend"), "emulate_gpus": plan.emulate_gpus}
    result["image"] = manifest.get("image")
    write_json(paths.result, result)
