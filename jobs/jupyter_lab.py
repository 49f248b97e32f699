"""JupyterLab in a job, for hpcdl notebook: on the node's loopback, with a token in a private file.

It ends with its time limit: the page is warned and asked to save before. Python 3.8 and the
standard library only, for it runs in the image.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

LOOPBACK = "127.0.0.1"
WARNINGS_S = (600, 120)  # how long before the end the page is warned
SAVE_S = 6  # the page looks for notices every 2 s, and saves what is open
GRACE_S = 20  # for the server, to end its kernels
AUTOSAVE_S = 10  # JupyterLab's own default is 120
START_S = 300  # until it answers
ADVICE = "so it is ended: see what the image's etc/jupyter sets, such as login_handler_class"
PORT_TRIES = 5  # another program may take the free port first
LISTENS = "0A"  # the state, as the kernel's tables have it
# Who listens at these addresses may get what is sent to the loopback
REACHED = {"tcp": (LOOPBACK, "0.0.0.0"), "tcp6": ("::", f"::ffff:{LOOPBACK}")}  # noqa: S104
# Not `-m jupyterlab`, which would first import what lies in the working directory. The token is
# an option, for an option beats all that the image's etc/jupyter sets; the process is not seen
# with it, for it comes from the file. Jupyter Server 1 has its own names, without a provider.
START = """
import os, sys
sys.path[:] = [folder for folder in sys.path if folder]
with open(os.environ["JUPYTER_TOKEN_FILE"]) as file:
    token = file.read()
try:
    import jupyter_server.auth.identity
except ImportError:
    options = {f"{app}.token": token for app in ("ServerApp", "LabApp", "NotebookApp")}
    options["ServerApp.password"] = ""
else:
    provider = "PasswordIdentityProvider"
    options = {f"{provider}.token": token, f"{provider}.hashed_password": ""}
    options["IdentityProvider.token"] = token
    options["ServerApp.identity_provider_class"] = f"jupyter_server.auth.identity.{provider}"
sys.argv += [f"--{name}={value}" for name, value in options.items()]
from jupyterlab.labapp import main
sys.exit(main())
"""
EXTENSION = "hpcdl-notice"
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"autosave": True, "autosaveInterval": AUTOSAVE_S},
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": False,
        "fetchNews": "false",
    },
}


def main():
    """Run JupyterLab until its page shuts it down, or the run is asked to stop.

    Returns:
        the exit status.
    """
    parser = argparse.ArgumentParser()
    words = "how long before the job's end it is asked to stop"
    parser.add_argument("--stop-margin-s", type=float, help=words)
    ends = end_of_job(parser.parse_args().stop_margin_s)
    if importlib.util.find_spec("jupyterlab") is None:
        print(f"there is no JupyterLab for {sys.executable}: see hpcdl env build", file=sys.stderr)
        return 1
    umask = os.umask(0o077)
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    stop_file = Path(os.environ["HPCDL_STOP_FILE"])
    page = Page(stop_file.with_name("jupyter"))
    own = Path(tempfile.mkdtemp(prefix="jupyter-"))
    server = Server(page, own, umask)
    try:
        if not server.start(lambda: bool(received) or stop_file.exists()):
            return server.status() or 1
        page.write_address(server.port, ends)
        status = watch(server, received, stop_file, ends)
        return status if not received else 128 + received[0]
    except NoPageError as error:
        print(f"hpcdl: {error}", file=sys.stderr)
        return 1
    finally:
        server.end()
        page.remove()
        shutil.rmtree(str(own), ignore_errors=True)


def end_of_job(margin_s):
    """When the notebook ends with its job's time limit (unix time); None if nobody knows.

    Args:
        margin_s: how long before its limit the job asks it to stop; None if nobody knows.
    """
    limit = os.environ.get("HPCDL_END_TIME")
    return None if limit is None or margin_s is None else float(limit) - margin_s


class NoPageError(Exception):
    """Why there is no page that its user may open."""


def watch(server, received, stop_file, ends):
    """Wait for the server's end, or end it when the run is asked to stop.

    Args:
        server: the running server.
        received: the signals that this process has got.
        stop_file: the file that asks the run to stop.
        ends: when that will be (unix time); None if nobody knows.

    Returns:
        the exit status.
    """
    left_to_say = list(WARNINGS_S)
    while True:
        status = server.status()
        if status is not None:
            return status
        if received:
            return 0
        if stop_file.exists():
            server.tell("ends now, open documents are saved", is_end=True)
            time.sleep(SAVE_S)
            return 0
        left_s = None if ends is None else ends - time.time()
        if left_s is not None and left_to_say and left_s <= left_to_say[0]:
            left_to_say = [lead_s for lead_s in left_to_say if lead_s < left_s]
            server.tell(f"ends in {in_words(left_s)}, with its time limit: save what you need")
        time.sleep(0.5)


def in_words(seconds):
    """A time for people: in minutes, or in seconds where it is short."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


class Page:
    """The private files by which hpcdl finds the page: its token, its address.

    Args:
        folder: where they lie; nobody else may look into it.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        self.token = ""
        self.token_file = folder / "token"
        self.address = folder / "address.json"
        with suppress(FileNotFoundError):
            self.address.unlink()

    def new_token(self):
        """Make a token that nothing has heard of."""
        self.token = secrets.token_urlsafe(32)
        write_private(self.token_file, self.token)

    def write_address(self, port, ends):
        """Say where the server answers, and in which attempt of the run."""
        attempt = int(os.environ.get("HPCDL_ATTEMPT", "1"))
        place = {"host": socket.gethostname(), "port": port}
        content = {**place, "ends": ends, "attempt": attempt}
        write_private(self.address, json.dumps(content))

    def remove(self):
        """Remove the files: nothing answers there any more."""
        shutil.rmtree(str(self.folder), ignore_errors=True)


class Server:
    """JupyterLab's server, a child process.

    Args:
        page: the page's files.
        own: a folder of this node for what the server writes.
        umask: the user's own, for the files that kernels and terminals make.
    """

    def __init__(self, page, own, umask):
        self.page = page
        self.own = own
        self.umask = umask
        self.port = 0
        self.child = None
        self.notice = own / "labextensions" / EXTENSION / "static" / "notice.json"

    def start(self, is_over):
        """Start it, and wait until it answers.

        Args:
            is_over: whether nobody needs it any more.

        Returns:
            whether it answers.
        """
        write_settings(self.own)
        deadline = time.monotonic() + START_S
        for _ in range(PORT_TRIES):
            self._start_once()
            while self.child.poll() is None and not is_over():
                if self._answers():
                    return True
                if time.monotonic() > deadline:
                    raise NoPageError(f"JupyterLab has not answered within {START_S} seconds")
                time.sleep(0.2)
            if is_over() or is_free(self.port):
                return False
        return False

    def _start_once(self):
        """Start it on a port that is free now, with a token of its own."""
        self.page.new_token()
        self.port = free_port()
        self.child = subprocess.Popen(
            self._argv(),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=self._prepare_child,
        )
        output = (self.child.stdout, self.page.token)
        threading.Thread(target=print_without, args=output, daemon=True).start()

    def _prepare_child(self):
        """Let Linux end the child if this process is killed, and give it the user's umask."""
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        os.umask(self.umask)

    def status(self):
        """Its exit status; None while it runs."""
        return None if self.child is None else self.child.poll()

    def tell(self, words, is_end=False):
        """Show a notice in the page and in its terminals.

        Args:
            words: what happens to this notebook.
            is_end: whether the page is to save what is open.
        """
        text = f"hpcdl: this notebook {words}"
        print(text, flush=True)
        content = {"id": time.time(), "text": text, "save": is_end}
        with suppress(OSError):
            write_private(self.notice, json.dumps(content))
        for process in shells_of(self.child.pid):
            with suppress(OSError):
                write_to_terminal(process, f"\r\n\a*** {text} ***\r\n")

    def end(self):
        """End it; it shuts its kernels down first."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def _argv(self):
        options = {
            "ServerApp.ip": LOOPBACK,
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.sock": "",
            "ServerApp.base_url": "/",
            "ServerApp.certfile": "",
            "ServerApp.keyfile": "",
            "ServerApp.client_ca": "",
            "ServerApp.open_browser": False,
            "ServerApp.root_dir": os.getcwd(),
            "ServerApp.allow_root": os.geteuid() == 0,
            "LabServerApp.extra_labextensions_path": self.own / "labextensions",
            "LabApp.extra_labextensions_path": self.own / "labextensions",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-c", START, *words]

    def _environment(self):
        """This process's own, and where Jupyter finds and keeps its files.

        Its data bases lie on the node: shared file systems lock files badly, or not at all.
        """
        env = dict(os.environ, JUPYTER_TOKEN_FILE=str(self.page.token_file))
        env.pop("JUPYTER_TOKEN", None)  # the image's, or the job's
        if env.get("MPLBACKEND", "").startswith("module://hpcdl"):
            del env["MPLBACKEND"]  # that one keeps a script's figures as files; a page shows them
        for name in ("config", "data", "runtime"):
            env[f"JUPYTER_{name.upper()}_DIR"] = str(self.own / name)
        env["IPYTHONDIR"] = str(self.own / "ipython")
        for folder in map(Path, sys.path):  # packages that lie beside the image
            if not (folder / "share" / "jupyter").is_dir():
                continue
            add_path(env, "JUPYTER_PATH", folder / "share" / "jupyter")
            add_path(env, "JUPYTER_CONFIG_PATH", folder / "etc" / "jupyter")
            lab = folder / "share" / "jupyter" / "lab"
            if lab.is_dir():
                env.setdefault("JUPYTERLAB_DIR", str(lab))
        return env

    def _answers(self):
        """Whether it answers its user. The token is sent to nobody else's server.

        Raises:
            NoPageError: it answers everybody, or refuses its user.
        """
        if not is_listener_ours(self.port):
            return False
        status = self._ask({})
        if 200 <= status < 300:
            raise NoPageError(f"JupyterLab lets everybody in without the token, {ADVICE}")
        if status:
            status = self._ask({"Authorization": f"token {self.page.token}"})
        if 400 <= status < 500:
            raise NoPageError(f"JupyterLab refuses its own token (status {status}), {ADVICE}")
        return status == 200

    def _ask(self, headers):
        """The status of its answer; 0 if there is none."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/api/status", headers=headers)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()


def print_without(output, token):
    """Print what the server says, without its token."""
    for line in output:
        sys.stdout.write(line.decode("utf-8", "replace").replace(token, "..."))
        sys.stdout.flush()


def write_settings(own):
    """Write JupyterLab's settings, and the extension that shows notices in its page."""
    folder = own / "config" / "labconfig"
    folder.mkdir(parents=True)
    write_private(folder / "default_setting_overrides.json", json.dumps(SETTINGS))
    extension = own / "labextensions" / EXTENSION
    static = extension / "static"
    static.mkdir(parents=True)
    shutil.copy(str(Path(__file__).with_name("jupyter_notice.js")), str(static / "notice.js"))
    write_private(static / "notice.json", json.dumps({"id": 0}))
    build = {"load": "static/notice.js", "extension": "./extension"}
    about = {"name": EXTENSION, "version": "1.0.0", "jupyterlab": {"_build": build}}
    write_private(extension / "package.json", json.dumps(about))


def add_path(env, name, folder):
    """Add a folder to a variable with a list of folders."""
    env[name] = os.pathsep.join(filter(None, [env.get(name), str(folder)]))


def write_private(path, text):
    """Write a file that only this user may read, aside first."""
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(str(aside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(str(aside), str(path))


def free_port():
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def is_free(port):
    """Whether nobody listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listener_ours(port):
    """Whether this user's programs alone get what is sent to a port of the loopback."""
    owners = set()
    for name, version in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        places = [in_table(version, place) for place in REACHED[name]]
        with suppress(OSError):  # a kernel without IPv6 has no such table
            text = Path("/proc/self/net", name).read_text(encoding="ascii")
            for words in map(str.split, text.splitlines()[1:]):
                place, _, number = words[1].partition(":")
                if words[3] == LISTENS and int(number, 16) == port and place in places:
                    owners.add(int(words[7]))
    return owners == {os.geteuid()}


def in_table(version, address):
    """An address as the kernel's tables have it: words of 32 bits as they lie in memory."""
    packed = socket.inet_pton(version, address)
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def shells_of(server):
    """The processes of a server that have a terminal: those of the page's terminals."""
    shells = []
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError, IndexError):
            stat = Path("/proc", str(int(name)), "stat")
            text = stat.read_text(encoding="utf-8", errors="replace")
            _, parent, _, session, terminal = text.rpartition(")")[2].split()[:5]
            if (int(parent), session) == (server, name) and terminal != "0":
                shells.append(int(name))
    return shells


def write_to_terminal(process, text):
    """Write to the terminal of a shell, as wall(1) does."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
    descriptor = os.open(f"/proc/{process}/fd/0", flags)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
