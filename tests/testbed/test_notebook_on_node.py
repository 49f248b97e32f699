"""`hpcdl notebook` and `shell --on-node` on the real SLURM: JupyterLab through a real ssh tunnel, in a real Chromium."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.browser import Browser
from tests.terminal import Terminal
from tests.test_docs import blocks
from tests.testbed.conftest import CHECKOUT, Bed, Run, cancel_jobs, new_bed, until

pytestmark = [pytest.mark.testbed, pytest.mark.tensorflow]

PINS = Path(__file__).with_name("etc") / "jupyterlab.txt"
CACHE = Path(os.environ.get("HPCDL_TESTBED_CACHE", "/var/cache/hpcdl-testbed"))
CELL = """\
import os, keras, numpy
digits = numpy.load(os.environ["HPCDL_DATA_ROOT"] + "/mnist.npz")
images, labels = digits["x_train"][:2000] / 255.0, digits["y_train"][:2000]
layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
model = keras.Sequential(layers)
model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
scores = model.fit(images, labels, epochs=1, verbose=0).history
print("trained", len(scores["accuracy"]), "epoch on", len(images), "images in", os.getcwd())
"""
# What an image may set, its own extension among it: the options of the notebook beat it
OWN_LOGIN = """
import sys, types
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.auth.login import LoginHandler
class Login(LoginHandler):
    @classmethod
    def get_user(cls, handler):
        return "anybody"
class Everybody(IdentityProvider):
    async def get_user(self, handler):
        return User("anybody")
c.ServerApp.login_handler_class = Login
c.ServerApp.identity_provider_class = Everybody
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.cookie_secret = b"known to all"
class Leak(JupyterHandler):
    def get(self):
        self.write("leaked")
def load(app):
    app.web_app.add_handlers(".*$", [("/leak", Leak)])
leak = sys.modules["leak"] = types.ModuleType("leak")
leak._jupyter_server_extension_points = lambda: [{"module": "leak"}]
leak._load_jupyter_server_extension = load
c.ServerApp.jpserver_extensions = {"leak": True}
"""
# What no option beats: it is asked whether terminals can be had
OPEN_TERMINALS = """
from jupyter_server_terminals.handlers import TermSocket
async def prepare(self, *args, **options):
    self.current_user = "anybody"
TermSocket.prepare = prepare
"""
LISTENS, LOOPBACK = "0A", "0100007F"  # as the kernel's tables have them
TYPED = "# typed last"
SAID = "trained 1 epoch on 2000 images in"


@dataclass
class Notebook:
    """One that runs: its run, the two lines that the command printed, and all that it said."""

    run: Run
    ssh: str
    url: str
    talk: str

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]

    @property
    def port(self) -> int:
        return int(re.findall(r":(\d+)/", self.url)[0])


def wheels() -> Path:
    """JupyterLab's wheels for the image's Python, from the cache or PyPI."""
    folder = CACHE / "jupyterlab"
    if not (folder / "complete").exists() or (folder / "complete").read_text() != PINS.read_text():
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        argv += ["--python-version=3.11.2", "-r", str(PINS), "-d", str(folder)]
        subprocess.run(argv, check=True)
        (folder / "complete").write_text(PINS.read_text())
    return folder


@pytest.fixture(scope="module")
def site(cluster: None) -> Iterator[Bed]:
    """A folder of hpcuser's, whose runs have JupyterLab beside the image."""
    bed = new_bed("test-notebook")
    bed.profile.write_text(
        bed.profile.read_text().replace("/gpfs/scratch/nct00/{user}/runs", str(bed.runs))
    )
    bed.profile = bed.profile.rename(bed.folder / "mycluster.yaml")
    bed.environment["XDG_CACHE_HOME"] = str(bed.folder / "cache")
    bed.environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels()))
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": [], "source": CELL}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": [{**cell, "execution_count": None}], "metadata": kernel}
    bed.write("train.ipynb", json.dumps({**content, "nbformat": 4, "nbformat_minor": 5}))
    yield bed
    cancel_jobs(bed.folder)
    subprocess.run(["scancel", "--user=hpcuser", "--name=notebook-shell"], check=False)


def as_printed(bed: Bed, done: subprocess.CompletedProcess[str]) -> Notebook:
    ssh, url = done.stdout.splitlines()[-2:]
    (root,) = re.findall(r"its run: (.*)", done.stderr)
    return Notebook(Run(bed, Path(root)), ssh, url, done.stderr)


@pytest.fixture(scope="module")
def notebook(site: Bed) -> Notebook:
    """Made by the commands of docs/notebook.md; before them the second one alone says what is missing."""
    commands = blocks(CHECKOUT / "docs" / "notebook.md", "notebook")
    alone = commands.splitlines()[-1]
    refused = site.run(*shlex.split(alone), check=False)
    assert refused.returncode == 2
    assert "hpcdl env build notebook, with this --cluster" in refused.stderr
    assert not site.runs.exists()
    return as_printed(site, site.run("bash", "-euo", "pipefail", "-c", commands))


@pytest.fixture(scope="module")
def page(notebook: Notebook) -> Iterator[str]:
    """The notebook's address at this end of the printed ssh line, which is typed as it is.

    The login node and the node are one sshd on loopback here, so ssh is told where they are, and
    the tunnel's own end gets another port.
    """
    folder = notebook.run.bed.folder / "ssh"  # hpcuser's sshd reads it
    folder.mkdir()
    for name in ("host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    port, own_port = free_port(), free_port()
    (folder / "sshd").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/key.pub\nStrictModes no\nPasswordAuthentication no\n"
    )
    (folder / "config").write_text(
        f"Host *\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/key\n"
        " IdentitiesOnly yes\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
        f" UserKnownHostsFile {folder}/known\n ExitOnForwardFailure yes\n"
    )
    subprocess.run(["chown", "-R", "hpcuser", folder], check=True)
    sshd = ["runuser", "-u", "hpcuser", "--", "/usr/sbin/sshd", "-D", "-e", "-f"]
    (folder / "key").chmod(0o600)
    line = notebook.ssh.replace(f" {notebook.port}:", f" {own_port}:", 1)
    assert line != notebook.ssh
    server = subprocess.Popen([*sshd, str(folder / "sshd")])
    try:
        until(lambda: answers(port), 20)
        argv = shlex.split(line)
        tunnel = subprocess.Popen([argv[0], "-F", folder / "config", *argv[1:]])
        until(lambda: answers(own_port), 20)
        yield notebook.url.replace(f":{notebook.port}/lab", f":{own_port}/lab/tree/train.ipynb")
        tunnel.terminate()
        tunnel.wait()
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_token_is_its_users_alone(site: Bed, notebook: Notebook) -> None:
    """It lies in one file; no argv, log, script or note of the run has it."""
    folder = notebook.run.path / "jupyter"
    holders = []
    for path in notebook.run.path.rglob("*"):
        if path.is_file() and notebook.token.encode() in path.read_bytes():
            holders.append(path)
    argvs = subprocess.run(["ps", "-eo", "args", "ww"], capture_output=True, text=True).stdout

    assert len(notebook.token) >= 32
    assert holders == [folder / "token"]
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, holders[0])] == ["0o700", "0o600"]
    assert "jupyterlab" in argvs
    assert notebook.token not in argvs
    assert "Serving notebooks from local directory" in notebook.run.log()
    assert notebook.token not in notebook.talk


def test_listens_on_loopback_only(notebook: Notebook) -> None:
    places = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            place, state = line.split()[1], line.split()[3]
            if state == LISTENS and place.endswith(f":{notebook.port:04X}"):
                places.append(place.partition(":")[0])

    assert places == [LOOPBACK]


def test_is_a_run(site: Bed, notebook: Notebook) -> None:
    """Status, logs and the command itself know it."""
    again = site.run("hpcdl", "notebook", notebook.run.path)

    assert re.search(r"image: jupyterlab [\d.]+ and \d\d that they need", notebook.talk)
    assert notebook.run.status()["state"] == "running"
    assert again.stdout == f"{notebook.ssh}\n{notebook.url}\n"
    assert "JupyterLab" in site.run("hpcdl", "logs", notebook.run.path).stdout
    assert ["no-requeue", ""] in notebook.run.json("plan.json")["directives"]


def test_cell_trains_one_epoch(
    site: Bed,
    notebook: Notebook,
    page: str,
    browser: Browser,
    tmp_path: Path,
) -> None:
    """The page, through the tunnel; then the end of its time, which it is told of and saves at.

    Its user has turned autosave off, so nothing else has saved.
    """
    settings = f"/lab/api/settings/@jupyterlab/docmanager-extension:plugin?token={notebook.token}"
    ours = json.loads(ask(notebook, "GET", settings))["schema"]["properties"]
    ask(notebook, "PUT", settings, json.dumps({"raw": '{"autosave": false}'}))
    browser.ask(
        "Emulation.setDeviceMetricsOverride",
        width=1200,
        height=800,
        deviceScaleFactor=1,
        mobile=False,
    )
    browser.go(page)
    until(lambda: browser.value("!!document.querySelector('.jp-Notebook .cm-content')"))
    until(lambda: "| Idle" in browser.value("document.body.innerText"))
    browser.click(".jp-Notebook .cm-content")
    browser.shift_enter()
    output = "(document.querySelector('.jp-OutputArea-output[data-mime-type$=stdout]') || {}).innerText || ''"
    until(lambda: SAID in browser.value(output))

    assert browser.value(output).strip() == f"{SAID} {site.folder}"
    assert "this notebook ends in 9 minutes" in browser.value("document.body.innerText")
    assert [ours[name]["default"] for name in ("autosave", "autosaveInterval")] == [True, 10]
    terminal(browser, notebook.token)
    (tmp_path / "page.png").write_bytes(browser.screenshot())

    browser.click(".jp-Notebook .cm-content")
    browser.ask("Input.insertText", text=f"{TYPED}\n")
    until(lambda: TYPED in browser.value("document.body.innerText"))
    started = notebook.run.lines("attempts.jsonl")[0]["time"]
    # SLURM's warning then comes within a minute, and is as good as launch's own look at the time
    minutes = math.ceil((time.time() - started + 45) / 60)
    limit = f"TimeLimit={minutes}"
    site.run("scontrol", "update", f"JobId={notebook.run.job_id}", limit)
    warned = until(lambda: "ends now" in browser.value("window.said"))
    result = notebook.run.wait()
    shown = browser.value("document.body.innerText")
    browser.go("about:blank")

    assert warned
    assert result["state"] == "done"
    assert notebook.run.lines("attempts.jsonl")[-1]["time"] - started < 60 * minutes
    told, saved = notebook.run.log().split("ends now", 1)
    assert "Saving file at /train.ipynb" not in told
    assert "Saving file at /train.ipynb" in saved
    assert all(words in (site.folder / "train.ipynb").read_text() for words in (SAID, TYPED))
    assert "what was open has been saved, before the end" in shown
    assert not (notebook.run.path / "jupyter").exists()
    assert not answers(notebook.port)


def ask(notebook: Notebook, method: str, path: str, body: str | None = None) -> bytes:
    """What the server answers to this machine, the node itself; an error is raised."""
    data = None if body is None else body.encode()
    request = Request(f"http://127.0.0.1:{notebook.port}{path}", data, method=method)
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content


def terminal(browser: Browser, token: str) -> None:
    """Open a terminal of the page's server; `window.said` is what it shows."""
    browser.value(
        f"""window.said = "";
        fetch("/api/terminals", {{method: "POST", headers: {{Authorization: "token {token}"}}}})
          .then((answer) => answer.json())
          .then((made) => {{
            const address = `ws://${{location.host}}/terminals/websocket/${{made.name}}?token={token}`;
            new WebSocket(address).onmessage = (event) => {{ window.said += event.data; }};
          }}); 0"""
    )
    until(lambda: "stdout" in browser.value("window.said"))


def test_image_without_jupyterlab_refused(site: Bed, notebook: Notebook) -> None:
    """A job of one's own, without packages: the remedy is the line to write and the command."""
    site.write("mine.py", "print(1)\n")
    site.write("mine.yaml", "name: mine\nscript: mine.py\n")

    refused = site.run("hpcdl", "notebook", "mine.yaml", "-c", "mycluster.yaml", check=False)

    assert refused.returncode == 2
    assert "there is no JupyterLab in /gpfs/scratch/nct00/images/tf2.21-py311.sif" in refused.stderr
    assert "packages: requirements.txt in the job file, with the line jupyterlab" in refused.stderr
    assert f"then hpcdl env build {site.folder}/mine.yaml" in refused.stderr
    assert not (site.runs / "mine-notebook").exists()


def short(site: Bed, settings: str) -> tuple[object, ...]:
    """A short notebook, whose image sets something for Jupyter."""
    file = site.write("etc/jupyter_server_config.py", settings)
    words = ("hpcdl", "notebook", "-c", "mycluster.yaml", "--time", "00:10:00", "--gpus", "0")
    return (*words, "--set", f"env.JUPYTER_CONFIG_PATH={file.parent}")


def test_image_that_lets_everybody_in(site: Bed, notebook: Notebook) -> None:
    """Jupyter's own answers count: the notebook is ended, and its user learns where to look."""
    refused = site.run(*short(site, OPEN_TERMINALS), check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "lets everybody in without the token: a websocket at /terminals/" in refused.stderr
    assert (
        f"what Jupyter reads here: {site.folder}/etc/jupyter_server_config.py, " in refused.stderr
    )


def test_cancelled_for_good(site: Bed, notebook: Notebook) -> None:
    """With an image that would let everybody in: what hpcdl sets beats that."""
    other = as_printed(site, site.run(*short(site, OWN_LOGIN)))
    with pytest.raises(HTTPError, match="403"):
        ask(other, "GET", "/api/kernels")
    assert ask(other, "GET", f"/api/kernels?token={other.token}") == b"[]"
    assert b"leaked" not in ask(other, "GET", "/leak")
    assert ask(other, "GET", f"/leak?token={other.token}") == b"leaked"

    site.run("hpcdl", "cancel", other.run.path)

    until(lambda: not answers(other.port))
    assert other.run.status()["state"] == "cancelled"


def test_program_on_node(site: Bed, notebook: Notebook) -> None:
    """In the job's container, without a terminal; stdin and the exit status pass."""
    asks = "python -c 'import jupyterlab'; hostname; cat; exit 7"
    words = ("notebook", "-c", "mycluster.yaml", "--on-node", "--time", "00:05:00")
    done = site.run("hpcdl", "shell", *words, "--", "bash", "-c", asks, check=False, stdin="word\n")

    assert done.returncode == 7, done.stderr
    assert done.stdout == f"{socket.gethostname()}\nword\n"

    of_run = (notebook.run.path, "--on-node", "--time", "00:05:00", "--", "pwd")
    assert site.run("hpcdl", "shell", *of_run).stdout == f"{site.folder}\n"  # a run's, the same way


def test_shell_on_node(site: Bed, notebook: Notebook) -> None:
    """A terminal of this one's size, a Ctrl-C for the program alone, an allocation as asked."""
    words = ("notebook", "-c", "mycluster.yaml", "--on-node", "--time", "00:05:00", "--gpus", "2")
    terminal = Terminal(
        site.folder, start=site.command("hpcdl", "shell", *words), rows=33, columns=101
    )
    terminal.read_until("Apptainer> ")
    queue = ("squeue", "--noheader", "--name=notebook-shell", "--format=%b|%l|%P|%D")
    allocation = site.run(*queue).stdout.strip()
    terminal.type("stty size\n")
    _wait_for_prompt(terminal, "33 101")
    terminal.type("echo wa''iting; sleep 100\n")
    terminal.read_until("\nwaiting")
    terminal.type("\x03")
    _wait_for_prompt(terminal, "^C")
    terminal.type("echo st''ill here\n")
    _wait_for_prompt(terminal, "still here")
    terminal.type("exit 5\n")

    assert terminal.end() == 5
    assert allocation == "gres:gpu:2|5:00|acc|1"


def _wait_for_prompt(terminal: Terminal, text: str) -> None:
    """Wait for a text and the shell's prompt behind it: what is typed before that may be lost."""
    terminal.read_until(text)
    terminal.read_until("Apptainer> ", terminal.text.rindex(text))
