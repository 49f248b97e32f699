"""Rendered scripts: the golden files, as bash and shellcheck read them (`make golden` writes them anew)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hpcdl.cluster import Cluster, Image, Node, load_cluster
from hpcdl.contract.workers import read_workers
from hpcdl.errors import UserError
from hpcdl.job import Job, Resources, load_job
from hpcdl.planning import plan
from hpcdl.script import Sent, quote_directive, render, render_submission
from hpcdl.submission.bundle import write_bundle
from hpcdl.submission.locate import locate
from hpcdl.worker.command import worker_command

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TESTBED = str(HERE / "testbed" / "testbed.yaml")
MARENOSTRUM = ("--cluster", "marenostrum5", "--set", "cluster.account=nct00")
AMD_SITE = str(HERE / "cluster" / "amd.yaml")
SHARED = "/gpfs/scratch/nct00"  # the test bed's, where they are executed
PYTHON, DATA = (
    f"cluster.images.python={SHARED}/images/python3.11.sif",
    f"cluster.data_root={SHARED}/data",
)
LOOK = str(HERE / "jobs" / "look.yaml")
GENERIC = ("--cluster", "generic", "--set", PYTHON, "--set", DATA)

# Golden file -> what `hpcdl render` is told; a bundle's job.sbatch where the name says so
RENDERED = {
    "mnist_script.marenostrum5.sbatch": ("mnist_script", *MARENOSTRUM),
    "look.generic.sbatch": (LOOK, *GENERIC),
    "mnist_cnn.marenostrum5.bundle.sbatch": ("mnist_cnn", *MARENOSTRUM),
    "digits_cnn.testbed.bundle.sbatch": ("digits_cnn", "--cluster", TESTBED),
    "mnist_script.amd.sbatch": ("mnist_script", "--cluster", AMD_SITE),
    "look_nodes.testbed.sbatch": (LOOK, "--cluster", TESTBED, "--set", "resources.nodes=2-3"),
}
SUBMITTED = "mnist_cnn.testbed.submission.sbatch"
ALL = [*RENDERED, SUBMITTED]


def text_of(name: str) -> str:
    """A golden file's text, as hpcdl writes it today."""
    if name == SUBMITTED:
        runs = "/gpfs/scratch/nct00/hpcuser/runs"
        run = f"{runs}/mnist-cnn/20260101-1200-abcd"
        worker = worker_command("/opt/hpcdl-testbed/venv/bin/python", Path(run, "submitit"))
        decided = plan(load_job("mnist_cnn"), load_cluster(TESTBED))
        code = f"{runs}/.code/0123456789abcdef"
        return render_submission(decided, Sent(run, code, worker, f"{run}/logs/slurm-%j.out"))
    job, _, cluster, *sets = RENDERED[name]
    for_cluster = [text for text in sets if text.startswith("cluster.")]
    for_job = [text for text in sets if text.startswith("resources.")]
    decided = plan(load_job(job, for_job), load_cluster(cluster, for_cluster))
    return render(decided, "job.sbatch", bundle=True) if ".bundle." in name else render(decided)


@pytest.mark.parametrize("name", ALL)
def test_golden_unchanged(request, name):
    text = text_of(name)
    if request.config.getoption("--golden"):
        (GOLDEN / name).write_text(text)

    assert text == (GOLDEN / name).read_text(), "read the difference; if it is meant: make golden"


def test_golden_folder_complete():
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(ALL)


@pytest.mark.parametrize("name", ALL)
def test_golden_accepted_by_bash(name):
    subprocess.run(["bash", "-n", GOLDEN / name], check=True)


@pytest.mark.parametrize("name", ALL)
def test_golden_accepted_by_shellcheck(name):
    shellcheck = Path(sys.executable).with_name("shellcheck")

    done = subprocess.run(
        [shellcheck, "--shell=bash", GOLDEN / name], capture_output=True, text=True
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ALL)
def test_golden_reads_well(name):
    text = (GOLDEN / name).read_text()

    assert text.startswith("#!/bin/bash\n# ")
    assert text.endswith('exit "$status"\n')
    assert "\n\n\n" not in text, "one blank line between parts"
    assert not [line for line in text.splitlines() if line != line.rstrip()], "no trailing space"
    assert max(map(len, text.splitlines())) <= 160


@pytest.mark.parametrize("name", RENDERED)
def test_same_bytes_from_anywhere(hpcdl_process, tmp_path, name):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    outputs = []
    for folder in (HERE, elsewhere):
        output = ("-o", tmp_path / folder.name) if ".bundle." in name else ()
        answer = hpcdl_process("render", *RENDERED[name], *output, cwd=folder)
        assert answer.code == 0, answer.err
        outputs.append(
            (tmp_path / folder.name / "job.sbatch").read_text() if output else answer.out
        )

    assert outputs == [(GOLDEN / name).read_text()] * 2


def test_course_script_directives():
    """Every directive of the course's own batch script, and its commands, are in ours."""
    text = (GOLDEN / "mnist_script.marenostrum5.sbatch").read_text()

    for directive in (
        "chdir=.", "job-name=MNIST", "output=%x.%j.out", "error=%x.%j.err", "nodes=1", "ntasks-per-node=1",
        "cpus-per-task=20", "time=00:15:00", "account=nct00", "qos=acc_debug", "gres=gpu:1",
    ):  # fmt: skip
        assert f"\n#SBATCH --{directive}\n" in text
    assert "\nmodule purge\nmodule load singularity\n" in text
    assert "\n    singularity exec --nv " in text
    assert "\n    /gpfs/scratch/nct00/MN5-NGC-TensorFlow-23.03.sif\n" in text
    assert "\n    python MNIST.py\n" in text
    for words in (
        "MNIST on marenostrum5",
        "from jobs/mnist_script.yaml",
        "sbatch MNIST.slurm",
        "rendered by hpcdl ",
    ):
        assert words in text.partition("#SBATCH")[0]


SITE = Cluster(
    name="site",
    node=Node(cpus=8, gpus=2),
    images={"tensorflow": Image("/images/tf.sif")},
    data_root="/data/sets",
)
JOB = Job(name="a", script="/home/u/a.py", source="u/a.yaml", folder="/home/u")


def test_no_modules_means_no_section():
    assert "module " not in render(plan(JOB, SITE))
    assert "\nsource /etc/m.sh\nmodule purge\nmodule load a/1\n" in render(
        plan(JOB, replace(SITE, modules=["a/1"], module_init="/etc/m.sh"))
    )


@pytest.mark.parametrize(
    ("gpus", "emulated", "there"),
    [(1, False, True), (0, False, False), (1, True, False)],
    ids=["1", "0", "emulated"],
)
def test_nv_only_with_gpus(gpus, emulated, there):
    text = render(
        plan(replace(JOB, resources=Resources(gpus=gpus)), replace(SITE, emulate_gpus=emulated))
    )

    assert ("--nv" in text) == there
    assert ("CUDA_VISIBLE_DEVICES" in text) == (gpus > 0)


@pytest.mark.cases("C27", "C15")
def variable_in(text: str, name: str, shown: str) -> str:
    """What a script gives a variable for the container, where SLURM's is `shown` (empty: not set)."""
    words = next(line.strip(" \\") for line in text.splitlines() if f"{name}=" in line)
    env = {"PATH": "/usr/bin:/bin", **({name: shown} if shown else {})}
    done = subprocess.run(
        ["bash", "-c", f"echo {words}"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{name}=")
    assert done.stdout.endswith("\n")
    return done.stdout[len(name) + 1 : -1]


@pytest.mark.parametrize(("shown", "used"), [("", "0,1"), ("2,3,5", "2,3"), ("7", "7")])
@pytest.mark.parametrize("whole_node", [True, False], ids=["none", "exclusive"])
def test_whole_node_script_takes_first_gpus(whole_node, shown, used):
    site = replace(SITE, gpu_request="none" if whole_node else "gres", node=Node(cpus=80, gpus=4))
    job = replace(JOB, resources=Resources(gpus=2), slurm={} if whole_node else {"exclusive": ""})
    text = render(plan(job, site))

    assert ("--gres" in text) is not whole_node
    assert "gpus-per-node" not in text
    assert variable_in(text, "CUDA_VISIBLE_DEVICES", shown) == used


@pytest.mark.parametrize(("shown", "used"), [("", "0,1"), ("4,5,6", "4,5")])
def test_amd_script_takes_first_gpus(shown, used):
    """A site that gives whole nodes: no word of GPUs to SLURM, and ROCm's variable in the container."""
    site = replace(SITE, gpu_request="none", gpu_vendor="amd", node=Node(cpus=56, gpus=8))
    text = render(plan(replace(JOB, resources=Resources(gpus=2)), site))

    assert "--gres" not in text
    assert "gpus-per-node" not in text
    assert "exec --rocm --cleanenv" in text
    assert "--nv" not in text
    assert "CUDA_VISIBLE_DEVICES" not in text
    assert variable_in(text, "ROCR_VISIBLE_DEVICES", shown) == used


@pytest.mark.parametrize("without", [{"requeue": False}, {"max_requeues": 0}], ids=str)
def test_no_requeue_means_no_scontrol(without):
    text = render(plan(JOB, replace(SITE, **without)))

    assert "scontrol" not in text
    assert "run the job again" not in text
    assert (
        "\n# Jobs are not requeued here: one that ends with exit status 75 has saved its state; submit it"
        in text
    )
    assert ("#SBATCH --no-requeue" in text) == ("requeue" in without)


def test_requeue_count_is_limited():
    text = render(plan(JOB, replace(SITE, max_requeues=3)))

    assert "if [[ $status == 75 && ${SLURM_RESTART_COUNT:-0} -lt 3 ]]; then\n    echo " in text


def test_stop_signal_has_one_sender():
    """The rendered script sends it; in a submitted run the launcher does."""
    decided = plan(replace(JOB, stop_signal="USR1"), SITE)

    assert "\ntrap 'touch \"$HPCDL_STOP_FILE\"; kill -USR1 $!' USR2\n" in render(decided)
    assert "kill -USR1" not in render_submission(
        decided, Sent("/r/a/b", "/r/.code/0", ["python"], "/r/a/b/logs/1")
    )


def test_data_bound_once():
    assert "--bind /data/sets\n" in render(plan(JOB, SITE))
    assert "--bind /data/sets\n" not in render(plan(JOB, replace(SITE, binds=["/data"])))


def test_script_elsewhere_bound():
    text = render(plan(replace(JOB, workdir="/scratch/w"), SITE))

    assert "#SBATCH --chdir=/scratch/w\n" in text
    assert "    --bind /home/u\n" in text
    assert "    python /home/u/a.py\n" in text


def test_script_name_like_option():
    assert "    python ./-c.py\n" in render(plan(replace(JOB, script="/home/u/-c.py"), SITE))


def test_notes_become_comments():
    decided = plan(replace(JOB, resources=Resources(memory_gb=1)), SITE)

    assert "\n# memory comes with the CPUs on site: memory_gb is not asked for\n#SBATCH" in render(
        decided
    )


def test_no_image_refused():
    with pytest.raises(UserError, match="names no container image"):
        render(plan(JOB, replace(SITE, images={})))


def test_variables_of_the_node_enter(tmp_path):
    """bash runs the script with a container command that only prints: what is not set on the node is no word at all."""
    site = replace(
        load_cluster("generic"),
        runtime="printf",
        pass_env=["NCCL_DEBUG", "NOT_SET", "EMPTY", "MINE"],
    )
    (tmp_path / "a.py").touch()
    job = Job(
        name="a", script=str(tmp_path / "a.py"), folder=str(tmp_path), env={"MINE": "the job's"}
    )
    decided = plan(job, site)
    container = replace(decided.require_container(), nv=False)
    text = render(replace(decided, container=container)).replace(
        "printf exec", r"printf '[%s]\n' exec"
    )

    environment = {
        "PATH": "/usr/bin:/bin",
        "NCCL_DEBUG": 'a "b" $(c)',
        "EMPTY": "",
        "MINE": "no",
        "SLURM_JOB_ID": "7",
    }
    done = subprocess.run(
        ["bash"], input=text, cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    words = done.stdout.splitlines()
    names = [word for word in words if word.strip("[]").partition("=")[0] in site.pass_env]
    assert names == ['[NCCL_DEBUG=a "b" $(c)]', "[EMPTY=]", "[MINE=the job's]"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a.b:c,d@e%j", "a.b:c,d@e%j"),
        ("two words", '"two words"'),
        ('say "a"', "'say \"a\"'"),
        ("it's", '"it\'s"'),
        ("$(id)", '"$(id)"'),
        ("#x", '"#x"'),
    ],
)
def test_directive_quoted_for_sbatch(value, written):
    assert quote_directive(value) == written


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\u2028b", "a\\b", "a'b\"c", "\x1b[0m", "\0"], ids=ascii
)
def test_directive_refused(value):
    with pytest.raises(UserError, match=re.escape(repr(value))):
        quote_directive(value)


def test_bundle_binds_data_and_weights(tmp_path):
    """Folders outside data_root are bound, unless the profile binds them."""
    (tmp_path / "job.yaml").write_text(
        "name: a\nresources: {gpus: 1}\ndata: {path: /sets/photos, image_size: [96, 96]}\n"
        "model: {backbone: MobileNetV2, weights: /nets/w.h5}\n"
    )
    job = load_job(str(tmp_path / "job.yaml"))
    text = render(plan(job, SITE), bundle=True)
    assert re.findall(r"--bind (\S+)", text) == ["/sets", "/nets", "/data/sets", '"$PWD"']
    inside = replace(SITE, data_root="/sets", binds=["/nets"])
    text = render(plan(job, inside), bundle=True)
    assert re.findall(r"--bind (\S+)", text) == ["/nets", "/sets", '"$PWD"']


def bundle(tmp_path, workdir):
    """A bundle of a script job, moved: its folder and text."""
    (tmp_path / "job").mkdir()
    (tmp_path / "job/a b.py").write_text("print(1)")
    (tmp_path / "job/out").mkdir()
    (tmp_path / "job/job.yaml").write_text(f"name: a\nscript: a b.py\nworkdir: {workdir}\n")
    job = load_job(str(tmp_path / "job/job.yaml"))
    write_bundle(tmp_path / "bundle", locate(job, SITE, plan(job, SITE)))
    (tmp_path / "bundle").rename(tmp_path / "moved")
    return tmp_path / "moved", (tmp_path / "moved/job.sbatch").read_text()


@pytest.mark.cases("F22")
@pytest.mark.parametrize(("workdir", "chdir"), [(".", "."), ("out", "out"), ("./out/", "out")])
def test_bundle_works_in_its_own_folder(tmp_path, workdir, chdir):
    """A workdir that is relative to the job file moves with the folder, and nothing names the old place."""
    folder, text = bundle(tmp_path, workdir)

    assert f"#SBATCH --chdir={chdir}\n" in text
    assert (folder / chdir).is_dir()
    assert str(tmp_path) not in text


@pytest.mark.cases("C11")
def test_bundle_inside_its_own_folder(tmp_path):
    """``render -o DIR`` inside the folder that ``files`` names copies all of it but the bundle."""
    (tmp_path / "t.py").write_text("print(1)")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("1")
    (tmp_path / "job.yaml").write_text("name: a\nscript: t.py\nfiles: [.]\n")
    job = load_job(str(tmp_path / "job.yaml"))

    write_bundle(tmp_path / "deep" / "out", locate(job, SITE, plan(job, SITE)))

    names = sorted(path.name for path in (tmp_path / "deep" / "out").iterdir())
    assert names == ["data", "deep", "hpcdl_support", "job.sbatch", "job.yaml", "t.py"]
    assert list((tmp_path / "deep" / "out" / "deep").iterdir()) == []


@pytest.mark.cases("F22")
@pytest.mark.parametrize("workdir", ["{}/job/out", "../far"])
def test_bundle_mentions_workdir_elsewhere(tmp_path, workdir):
    (tmp_path / "far").mkdir()

    _, text = bundle(tmp_path, workdir.format(tmp_path))

    place = f"{tmp_path}/far" if ".." in workdir else f"{tmp_path}/job/out"
    assert f"# works in {place}, wherever this folder is copied to\n" in text
    assert f"#SBATCH --chdir={place}\n" in text


@pytest.mark.cases("F22")
@pytest.mark.parametrize("workdir", [".", "out", "{}/far"])
def test_moved_bundle_runs_its_own_script(tmp_path, workdir):
    """As sbatch starts it: in the working directory, with the folder that it was sent from."""
    (tmp_path / "far").mkdir()
    folder, text = bundle(tmp_path, workdir.format(tmp_path))
    (tmp_path / "job/a b.py").write_text("an edit that the bundle does not see")
    chdir = re.findall(r"--chdir=(\S+)", text)[0]
    text = text.replace('"${run[@]}" &', 'printf "%s\\n" "${run[@]}"; exit')

    done = subprocess.run(
        ["bash", "-eu", "-c", text],
        cwd=folder / chdir,
        env={"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    words = done.stdout.splitlines()
    binds = [words[place + 1] for place, word in enumerate(words) if word == "--bind"]
    script = os.path.normpath(folder / chdir / words[-1])
    assert script == f"{folder}/a b.py"
    assert any(Path(script).is_relative_to(one) for one in binds)
    assert str(folder / chdir if chdir != "." else folder) in binds


@pytest.mark.cases("C37")
@pytest.mark.parametrize("name", ["look.generic.sbatch", SUBMITTED])
def test_only_modules_speak_to_apptainer(name):
    """What the sending shell had set for it is gone before the modules are loaded; theirs is kept."""
    text = (
        (GOLDEN / name)
        .read_text()
        .partition("# The program")[0]
        .replace("module load", "set_by_module")
    )
    program = (
        "module() { :; }; set_by_module() { export APPTAINER_BIND=/site SINGULARITYENV_A=1; }; ln() { :; }\n"
        f"{text}\nenv | grep -E '^(APPTAINER|SINGULARITY)' | sort; true"
    )
    leaks = {"APPTAINER_BIND": "/leak", "SINGULARITY_BINDPATH": "/leak", "APPTAINERENV_X": "1"}

    done = subprocess.run(
        ["bash", "-euc", program],
        env={"PATH": os.environ["PATH"], **leaks},
        capture_output=True,
        text=True,
    )

    expected = "APPTAINER_BIND=/site\nSINGULARITYENV_A=1\n" if name == SUBMITTED else ""
    assert (done.stdout, done.stderr) == (expected, "")


NODES_PROGRAMS = {
    "scontrol": "printf 'n1\\nn2\\n'",
    "srun": """while [[ $1 == --* ]]; do shift; done
SLURM_PROCID=0 "$@" & SLURM_PROCID=1 "$@"; second=$?
wait $!; first=$?
exit $((first > second ? first : second))""",
    "singularity": """for word in "$@"; do [[ $word != TF_CONFIG=* ]] || echo "${word#TF_CONFIG=}"; done
exit "$STATUS\"""",
    "module": "",
}


@pytest.mark.parametrize("status", [0, 75, 3])
def test_each_node_is_told_of_the_others(tmp_path, status):
    """With stand-ins for srun and Apptainer. Exit status 75 does not end the other workers."""
    for name, text in NODES_PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    text = text_of("look_nodes.testbed.sbatch")

    done = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SLURM_JOB_ID": "123",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_RESTART_COUNT": "99",  # so that it is not run again
            "STATUS": str(status),
        },
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (status, "")
    workers = [read_workers({"TF_CONFIG": line}) for line in done.stdout.splitlines()]
    assert sorted(worker.rank for worker in workers) == [0, 1]
    assert {worker.addresses for worker in workers} == {("n1:20123", "n2:20124")}
    assert not list(tmp_path.glob("stop*"))


@pytest.mark.parametrize(
    ("job", "more", "message"),
    [
        ("mnist_cnn", {}, "use hpcdl submit"),
        ("mnist_script", {"stop_signal": "USR1"}, "stop_signal"),
    ],
)
def test_no_script_for_these_nodes(job, more, message):
    job = replace(load_job(job, ["resources.nodes=2"]), **more)

    with pytest.raises(UserError, match=message):
        render(plan(job, load_cluster(TESTBED)), bundle=True)
