"""The options of sbatch: long name, letter, and whether it takes a value.

Sources: sbatch's own answers (22.05, asked by tests/testbed/test_sbatch_lines.py), and for the
options of later releases https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

_LETTERS = """
a=array A=account b=begin B=extra-node-info c=cpus-per-task C=constraint d=dependency D=chdir
e=error F=nodefile G=gpus h=help H=hold i=input J=job-name k=no-kill L=licenses m=distribution
M=clusters n=ntasks N=nodes o=output O=overcommit p=partition q=qos Q=quiet s=oversubscribe
S=core-spec t=time v=verbose V=version w=nodelist W=wait x=exclude
"""
LETTERS = {pair[0]: pair[2:] for pair in _LETTERS.split()}
_WITH_VALUE = """
account acctg-freq array batch bb bbf begin chdir cluster cluster-constraint clusters comment
constraint container context core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task
deadline delay-boot dependency distribution error exclude export export-file extra-node-info gid
gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input
job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu
mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu
ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output partition power prefer priority
profile qos reservation signal sockets-per-node switches tasks-per-node thread-spec
threads-per-core time time-min tmp uid wait-all-nodes wckey wrap
container-id container-type extra mem-update resources segment tres-bind tres-per-task
"""  # the last line: of later releases
_WITH_VALUE_OR_NOT = """
exclusive get-user-env nice no-kill propagate
oom-kill-step requeue resv-ports
"""
_FLAGS = """
contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot
spread-job test-only usage use-min-nodes verbose version wait
consolidate-segments share spread-segments stepmgr
"""
# Options that plug-ins of sites add. Pyxis: https://github.com/NVIDIA/pyxis
# Shifter: https://docs.nersc.gov/development/containers/shifter/how-to-use/
_OF_PLUGINS = {
    **dict.fromkeys(("container-image", "container-mounts", "container-workdir"), "required"),
    **dict.fromkeys(("container-name", "container-save", "container-env"), "required"),
    **dict.fromkeys(("container-mount-home", "no-container-mount-home"), "no"),
    **dict.fromkeys(("container-remap-root", "no-container-remap-root"), "no"),
    **dict.fromkeys(("container-entrypoint", "no-container-entrypoint"), "no"),
    **dict.fromkeys(("container-entrypoint-log", "container-writable", "container-readonly"), "no"),
    **dict.fromkeys(("ear", "ear-policy", "uenv", "view"), "required"),
    **dict.fromkeys(("image", "module", "volume"), "required"),
    "x11": "optional",
}
OPTIONS = {
    **dict.fromkeys(_WITH_VALUE.split(), "required"),
    **dict.fromkeys(_WITH_VALUE_OR_NOT.split(), "optional"),
    **dict.fromkeys(_FLAGS.split(), "no"),
    **_OF_PLUGINS,
}
_SAME = {"tasks-per-node": "ntasks-per-node", "cluster": "clusters", "share": "oversubscribe"}


def long_name(given: str) -> str | None:
    """The option that sbatch takes a long name for, which may be cut short; None for none.

    Args:
        given: the name as it is written, without dashes in front.
    """
    if given in OPTIONS:
        return _SAME.get(given, given)
    beginning = {_SAME.get(name, name) for name in OPTIONS if name.startswith(given)}
    beginning -= _OF_PLUGINS.keys()
    return beginning.pop() if given and len(beginning) == 1 else None


def candidates(given: str) -> list[str]:
    """The options whose names begin with what is given, when there are several."""
    return sorted(name for name in OPTIONS if name.startswith(given)) if given else []
