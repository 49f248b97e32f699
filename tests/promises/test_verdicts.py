"""Verdicts on evidence that a real test left on the test bed (evidence.json), and on faults that a bed cannot have.

tests/testbed/test_promises.py plants the others for real.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcdl.cluster import Cluster, Node
from hpcdl.errors import UserError
from hpcdl.promises.evidence import AttemptEvidence, JobEvidence
from hpcdl.promises.judging import changes, exit_code, judge, summary
from hpcdl.promises.names import JOBS, PROMISES, chosen_promises, jobs_of
from hpcdl.promises.verdict import LEFT_EARLY, Verdict

SITE = Cluster("site", node=Node(cpus=80, gpus=4), memory_request="mem", data_root="/data")
EMULATED = replace(SITE, emulate_gpus=True)
DEFAULTS = {
    "smi": ["NVIDIA H100"] * 4,
    "driver": "535.86.10",
    "driver_cuda": "12.2",
    "cuda": "12.1",
}


def recorded() -> dict[str, JobEvidence]:
    """The evidence of a test in which each job did well; the memory job was not ended."""
    content = json.loads((Path(__file__).with_name("evidence.json")).read_text())
    return {name: JobEvidence.from_json(about) for name, about in content.items()}


def verdict_on(name: str, evidence: dict[str, JobEvidence], cluster: Cluster = SITE) -> Verdict:
    return judge(chosen_promises([name]), evidence, cluster)[name]


def with_cluster(name: str, evidence: dict[str, JobEvidence], **keys: Any) -> Verdict:
    return verdict_on(name, evidence, replace(SITE, **keys))


def on_node(
    site: dict[str, Any] | None = None, without: tuple[str, ...] = (), **changed: Any
) -> dict[str, JobEvidence]:
    """The same evidence from a node with real GPUs, and something else otherwise."""
    evidence = recorded()
    node = evidence["node"]
    facts = {**node.site, **DEFAULTS, **(site or {})}
    facts = {key: value for key, value in facts.items() if key not in without}
    evidence["node"] = replace(node, site=facts, **changed)
    return evidence


def with_job(job: str, **changed: Any) -> dict[str, JobEvidence]:
    evidence = recorded()
    evidence[job] = replace(evidence[job], **changed)
    return evidence


def first_ended(reason: str | None, **changed: Any) -> dict[str, JobEvidence]:
    """A stopped training that did not run again after its first attempt."""
    first = replace(recorded()["stop"].attempts[0], reason=reason)
    if reason is None:
        first = replace(first, ended=None)
    return with_job("stop", attempts=[first], state="cancelled", output="", **changed)


def with_second_attempt(reason: str) -> dict[str, JobEvidence]:
    """A training that ran again after another end than that of its time."""
    first, second = recorded()["stop"].attempts
    return with_job("stop", attempts=[replace(first, reason=reason), second])


def without_weights() -> JobEvidence:
    return replace(recorded()["undisturbed"], weights=None)


def unfit(fault: str) -> dict[str, JobEvidence]:
    """A node on which the worker started nothing."""
    message = f"n1 is not fit for the job: {fault}, and the job asks for 4"
    return with_job("node", site={}, cause="device", state="failed", message=message)


def killed_at_its_limit(reason: str) -> dict[str, JobEvidence]:
    words = (
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-29T08:51:46 DUE TO TIME LIMIT ***"
    )
    stop = replace(first_ended(reason)["stop"], state="failed", output=words, request=None)
    return {"stop": stop}


def test_recorded_test_is_good() -> None:
    verdicts = judge(PROMISES, with_job("memory", cause="out_of_memory"), EMULATED)

    outcomes = {name: verdict.outcome for name, verdict in verdicts.items()}
    assert outcomes.pop("driver") == "does not apply"
    assert set(outcomes.values()) == {"kept"}
    assert (exit_code(verdicts), changes(verdicts)) == (0, {})
    assert summary(verdicts) == "14 promises: 13 kept, 1 does not apply"
    assert summary({"data": verdicts["data"]}) == "1 promise: 1 kept"


@pytest.mark.parametrize(
    ("name", "evidence", "finding", "advice"),
    [
        ("driver", on_node({"driver_cuda": "11.4"}), "runs CUDA 11.4, the image has 12.1", "CUDA 11 or older"),
        ("driver", on_node({"driver": None, "smi": []}), "nvidia-smi says nothing", "--nv"),
        ("driver", on_node({"cuda": None}), "built without CUDA", "TensorFlow for GPUs"),
        ("gpus", on_node({"variables": {}, "smi": []}), "0 of 4 are visible", "gpu_request: gpus-per-node"),
        ("gpus", unfit("0 GPU(s) are visible (CUDA_VISIBLE_DEVICES is not set)"), "0 of 4 are", "gpu_request: gpus"),
        ("gpus", on_node({"smi": ["NVIDIA H100"]}), "the container lists 1 of 4", "--nv"),
        ("gpus", on_node({"variables": {"CUDA_VISIBLE_DEVICES": "0"}}), "1 of 4 are visible", "sinfo --format=%G"),
        ("files", on_node(lag_s=-42.0), "clock is 42 s ahead", "tell the site"),
        ("files", on_node(lag_s=65.0), "65 s after the node wrote it", "runs_root on another file system"),
        ("scratch", on_node({"scratch": {"error": "Read-only file system"}}), "Read-only file system", "$TMPDIR"),
        ("resumed", with_job("undisturbed", weights="other"), "with other weights", "constraint"),
        (
            "warned",
            with_job("stop", request=None, attempts=[AttemptEvidence("n1", 1.0)], output="CANCELLED DUE TO TIME LIMIT"),
            "ended without a warning",
            "own clock",
        ),
        ("cancel", with_job("cancel", queue="PENDING"), "a cancelled job waits to run again", "requeue: false"),
        ("warned", killed_at_its_limit("killed"), "CANCELLED AT", "own clock"),
        ("cancel", with_job("cancel", queue="RUNNING"), "SLURM still says RUNNING", "within a minute"),
        (
            "memory",
            with_job("memory", state="failed", cause="internal", message="killed (SIGKILL) by somebody"),
            "its cause was taken for internal",
            "names another cause",
        ),
        (
            "memory",
            with_job("memory", state="lost", message="SLURM says COMPLETED, but the run left no result"),
            "left no cause: lost: SLURM says COMPLETED",
            "/logs",
        ),
        ("accounting", with_job("node", accounted=None), "sacct does not know job 12897", "may read accounting"),
        ("accounting", with_job("node", accounted="RUNNING"), "sacct says RUNNING", "min_poll_s: 120"),
    ],
)  # fmt: skip
def test_fault_is_named(
    name: str, evidence: dict[str, JobEvidence], finding: str, advice: str
) -> None:
    verdict = verdict_on(name, evidence)

    assert verdict.outcome == "broken"
    assert finding in verdict.finding
    assert advice in verdict.advice
    for key in verdict.change:
        assert hasattr(SITE, key)


@pytest.mark.parametrize(
    ("name", "evidence", "why"),
    [
        ("image", {"node": JobEvidence(unsent="it waited 60 min in the queue (--wait-limit)")}, "--wait-limit"),
        ("gpus", {}, "the job node was not sent"),
        ("data", {"node": JobEvidence(state="failed", gpus=1)}, "before hpcdl's worker started"),
        ("resumed", with_job("undisturbed", state="failed"), "no undisturbed training"),
        ("resumed", with_job("stop", state="cancelled"), "did not come to its end"),
        ("memory", with_job("memory", words={"limit": 64 << 30}), "limit of 64 GB is too much"),
        ("cancel", with_job("cancel", state="failed", cause="spec"), "before it could be cancelled"),
        ("cancel", with_job("cancel", uncancelled="scancel failed (exit 1)"), "scancel failed (exit 1)"),
        ("worker", with_job("node", state="cancelled", attempts=[]), "cancelled before it started"),
        ("image", with_job("node", state="cancelled", attempts=[]), "cancelled before it started"),
        ("driver", on_node({"driver_cuda": None}), "which CUDA the driver has is not known"),
        ("driver", on_node(without=("cuda",)), "which CUDA the image has is not known"),
        ("gpus", unfit("the job may use 1 of its CPUs (its affinity)"), "did not start"),
        ("data", on_node({"data_root": {"read_mb": 0.0, "mb_per_s": None, "closed": 2}}), "nothing that you may read"),
        ("warned", first_ended("cancelled"), "before its time limit (cancelled)"),
        ("warned", first_ended("preempted"), "before its time limit (preempted)"),
        ("warned", first_ended("node_failure"), "before its time limit (node failure)"),
        ("warned", first_ended(None), "before its time limit (nobody knows why)"),
        ("requeued", first_ended("preempted", left="it waited 60 min in the queue"), "it waited 60 min"),
        ("memory", with_job("memory", state="cancelled", cause="cancelled"), "cancelled"),
        ("memory", with_job("memory", state="failed", cause="time_limit"), "time_limit"),
        ("memory", with_job("memory", words={"limit": 512 << 30, "asked": 1 << 30}), "512 GB is too much to fill"),
        ("memory", with_job("memory", words={"limit": 2 << 30, "asked": 1 << 30}), "before it had taken too much"),
    ],
)  # fmt: skip
def test_untried_promise_has_a_reason(
    name: str, evidence: dict[str, JobEvidence], why: str
) -> None:
    verdicts = judge(chosen_promises([name]), evidence, SITE)

    assert verdicts[name].outcome == "not tried"
    assert why in verdicts[name].finding
    assert exit_code(verdicts) == 1


@pytest.mark.parametrize(
    ("name", "evidence", "why"),
    [
        ("gpus", {"node": JobEvidence(unsent="90 CPUs are asked for", check="size")}, "90 CPUs"),
        ("image", unfit("0 GPU(s) are visible (CUDA_VISIBLE_DEVICES is not set)"), "was not started"),
        ("image", with_job("node", site={}, state="failed", message="the node's scratch folder: full"), "not started"),
        ("image", with_job("node", site={}), "is not to be seen here"),
        ("worker", with_job("node", state="failed", cause="node_failure", attempts=[], output=""), "node_failure"),
        ("all-reduce", with_job("node", probe={}), "program ended before"),
        ("requeued", with_second_attempt("preempted"), "did not save and stop (preempted)"),
        ("requeued", first_ended("killed"), "did not save and stop (killed)"),
        ("resumed", with_job("stop", attempts=recorded()["stop"].attempts[:1]), "came to its end at once"),
        ("resumed", with_job("stop", weights=None), "last checkpoint cannot be read"),
        ("resumed", {**with_job("stop", weights=None), "undisturbed": without_weights()}, "cannot be read"),
        ("resumed", with_job("undisturbed", attempts=recorded()["stop"].attempts), "ran the training twice"),
        ("memory", with_job("memory", state="failed", cause="spec", words={}), "did not start"),
        ("cancel", with_job("cancel", queue=None, accounted=None, queue_error="no answer"), "no answer"),
        ("accounting", with_job("node", queue="RUNNING", accounted="RUNNING"), "has not ended job"),
    ],
)  # fmt: skip
def test_other_fault_breaks_nothing_else(
    name: str, evidence: dict[str, JobEvidence], why: str
) -> None:
    verdict = verdict_on(name, evidence)

    assert verdict.outcome == "not tried", verdict
    assert why in verdict.finding


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("requeued", first_ended("time_limit", queue="FAILED")),
        ("cancel", with_job("cancel", queue="PENDING")),
        ("accounting", with_job("node", accounted="RUNNING")),
        ("scratch", on_node({"scratch": {"error": "Read-only file system"}})),
    ],
)
def test_profile_that_copes_is_not_changed(name: str, evidence: dict[str, JobEvidence]) -> None:
    evidence = {job: replace(about, state="failed") for job, about in evidence.items()}
    verdict = with_cluster(name, evidence, requeue=False, min_poll_s=300)

    assert (verdict.outcome, verdict.change) == ("broken", {})
    assert "requeue: false" not in verdict.advice


def test_finding_is_one_readable_line() -> None:
    """It quotes a job's words: with colours, line ends, and no end."""
    evidence = with_job("cancel", uncancelled="one\n\x1b[31mtwo \u202e" + "x" * 9000)
    finding = verdict_on("cancel", evidence).finding

    assert "one ?[31mtwo ?xxx" in finding
    assert finding.isprintable()
    assert len(finding) == 500


def test_image_may_lack_nvidia_smi() -> None:
    """TensorFlow has taken the GPUs: that says more."""
    probe = {**recorded()["node"].probe, "devices": [f"GPU:{n} NVIDIA H100" for n in range(4)]}
    evidence = on_node({"smi": [], "driver": None, "driver_cuda": None}, probe=probe)

    for name in ("gpus", "driver", "all-reduce"):
        assert verdict_on(name, evidence).outcome == "kept"


def test_parts_of_gpus_are_named() -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"}
    facts = {"variables": variables, "smi": ["NVIDIA H100"]}
    two = on_node(facts, gpus=2, probe={}, state="failed", cause="device")
    verdict = verdict_on("gpus", two)

    assert (verdict.outcome, verdict.change) == ("broken", {})
    assert "as parts of GPUs (MIG)" in verdict.finding
    assert verdict_on("gpus", on_node(facts | {"variables": {"CUDA_VISIBLE_DEVICES": "MIG-1"}}, gpus=1)).outcome == "kept"  # fmt: skip


@pytest.mark.parametrize(
    "evidence",
    [
        on_node({"variables": {"CUDA_VISIBLE_DEVICES": "0"}}),
        on_node({"smi": []}),
        with_job("node", site={}, cause="device", state="failed"),
        unfit("2 GPU(s) are visible (CUDA_VISIBLE_DEVICES is '0,1')"),
        unfit("it has no NVIDIA driver (/dev/nvidiactl is missing); 0 GPU(s) are visible"),
    ],
    ids=["some", "not in the container", "not in TensorFlow", "some on the node", "no driver"],
)
def test_right_gpu_request_stays(evidence: dict[str, JobEvidence]) -> None:
    verdict = verdict_on("gpus", evidence)

    assert (verdict.outcome, verdict.change) == ("broken", {})


def test_cancelled_job_may_be_completing() -> None:
    """SLURM waits for its processes, and cleans up."""
    assert verdict_on("cancel", with_job("cancel", queue="COMPLETING")).outcome == "kept"


@pytest.mark.parametrize("job", JOBS)
def test_left_test_breaks_nothing(job: str) -> None:
    """Ctrl-C cancels what runs: that shows nothing of the site."""
    evidence = with_job(job, state="cancelled", attempts=[], site={}, left=LEFT_EARLY)
    evidence[job] = replace(evidence[job], accounted="RUNNING", queue="RUNNING", output="it failed")
    verdicts = judge(PROMISES, evidence, SITE, was_left=True)

    about_job = {promise.name for promise in PROMISES if job in promise.jobs}
    broken = {name for name, verdict in verdicts.items() if verdict.outcome == "broken"}
    assert not broken & about_job
    assert verdicts["cancel"].outcome == "not tried"


def test_leaving_hides_no_earlier_fault() -> None:
    evidence = with_job("cancel", left=LEFT_EARLY)
    evidence["node"] = replace(on_node(lag_s=65.0)["node"], accounted="RUNNING")
    verdicts = judge(PROMISES, evidence, SITE, was_left=True)

    assert verdicts["files"].outcome == "broken"
    assert verdicts["accounting"].finding == verdicts["cancel"].finding == LEFT_EARLY


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("gpus", on_node(gpus=0)),
        ("all-reduce", on_node(gpus=1)),
        ("memory", with_job("memory", words={"limit": None, "asked": 0})),
    ],
)
def test_promise_does_not_apply(name: str, evidence: dict[str, JobEvidence]) -> None:
    verdicts = judge(chosen_promises([name]), evidence, SITE)

    assert verdicts[name].outcome == "does not apply"
    assert exit_code(verdicts) == 0


def test_slow_site_is_kept_with_advice() -> None:
    node = recorded()["node"]
    started = node.site["started"] + 100
    slow = {"started": started, "data_root": {"read_mb": 12.0, "mb_per_s": 4.0}}

    assert "which is slow" in verdict_on("image", on_node(slow)).finding
    verdict = verdict_on("data", on_node(slow))
    assert (verdict.outcome, verdict.finding) == ("kept", "12 MB at 4 MB/s, which is slow")
    assert "data_root" in verdict.advice


def test_evidence_survives_its_file() -> None:
    evidence = recorded()["stop"]

    assert [attempt.reason for attempt in evidence.attempts] == ["time_limit", "done"]
    assert evidence.weights == recorded()["undisturbed"].weights


def test_only_needed_jobs_are_sent() -> None:
    assert jobs_of(chosen_promises(["resumed"])) == ["stop", "undisturbed"]
    assert jobs_of(chosen_promises(["gpus", "scratch"])) == ["node"]
    assert len(jobs_of(chosen_promises([]))) == 5
    with pytest.raises(UserError, match="--only gpu: there is no such promise; did you mean gpus"):
        chosen_promises(["gpu"])
