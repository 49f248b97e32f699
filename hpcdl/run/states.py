"""The words for a run's state, and for why one of its attempts ended."""

from __future__ import annotations

# A run is in one of these states
CREATED = "created"  # its folder is there, and it was not submitted
QUEUED = "queued"
RUNNING = "running"
STOPPING = "stopping"  # it was asked to save and stop
REQUEUED = "requeued"  # it waits for its next attempt; as a reason: somebody sent it back
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
PRUNED = "pruned"  # a sweep has stopped this trial, as others did better
LOST = "lost"  # it ended and left no result
UNKNOWN = "unknown"  # SLURM does not know its job
FINAL = frozenset({DONE, PRUNED, FAILED, CANCELLED, LOST})

# An attempt ends done, failed, cancelled, requeued, or for one of these reasons
STOPPED = "stopped"  # saved and stopped on somebody's request
TIME_LIMIT = "time_limit"  # likewise, because the time limit was near
PREEMPTED = "preempted"  # likewise, because SLURM wanted the node
KILLED = "killed"  # by a signal: the run goes on from its last checkpoint
NODE_FAILURE = "node_failure"  # its node died
UNFIT = "unfit_node"  # its node lacked what the job needs, and nothing was started
STALLED = "stalled"  # its steps stood still, and it was ended: the run goes on once
TERMINATED = "terminated"  # by SLURM, which knows why
# After these there is another attempt
AGAIN = frozenset({STOPPED, TIME_LIMIT, PREEMPTED, KILLED, NODE_FAILURE, UNFIT, STALLED, REQUEUED})
LEAVES_NODE = frozenset({NODE_FAILURE, UNFIT})  # after these the node is not used again

# Why a sweep asks a trial to stop: PRUNED, or the metric is missing from what it reports
NO_METRIC = "no_metric"

# A cause: the run waited for another one, which did not end well
DEPENDENCY = "dependency"
# A cause: the training stood still
STALL = "stall"

# What a line of attempts.jsonl tells
START = "start"
END = "end"
RESUMED = "resumed"  # somebody resumed the run by hand
EVENTS = frozenset({START, END, RESUMED})

# The batch script writes this line before it asks SLURM for a requeue; without it somebody else did
OWN_REQUEUE = "hpcdl: asking SLURM to run this job again"
