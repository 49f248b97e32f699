"""JupyterLab's server as a child process, whose options beat what the image sets for Jupyter."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from jupyter_access import NoPageError, answers, configuration, require_closed
from jupyter_notice import Notices
from jupyter_page import write_private
from jupyter_ports import LOOPBACK, free_port, is_free

GRACE_S = 20  # for the server, to end its kernels
AUTOSAVE_S = 10  # JupyterLab's own default is 120
START_S = 300  # until it answers
PORT_TRIES = 5  # another program may take the free port first
# Not `-m jupyterlab`, which would first import what lies in the working directory. The token is
# an option, for an option beats all that the image's etc/jupyter sets; the process is not seen
# with it, for it comes from the file. Jupyter Server 1 has its own names, without a provider.
START = """
import os, secrets, sys, warnings
sys.path[:] = [folder for folder in sys.path if folder]
with open(os.environ["JUPYTER_TOKEN_FILE"]) as file:
    token = file.read()
options = {"ServerApp.login_handler_class": "jupyter_server.auth.login.LoginHandler"}
try:
    import jupyter_server.auth.identity
except ImportError:
    options.update({f"{app}.token": token for app in ("ServerApp", "LabApp", "NotebookApp")})
    options["ServerApp.password"] = ""
else:
    provider = "PasswordIdentityProvider"
    options.update({f"{provider}.token": token, f"{provider}.hashed_password": ""})
    options["IdentityProvider.token"] = token
    options["ServerApp.identity_provider_class"] = f"jupyter_server.auth.identity.{provider}"
    options[f"{provider}.login_handler_class"] = "jupyter_server.auth.login.LoginFormHandler"
    options["ServerApp.cookie_secret"] = secrets.token_urlsafe(32)
    from jupyter_server.serverapp import ServerApp
    if hasattr(ServerApp, "allow_unauthenticated_access"):
        options["ServerApp.allow_unauthenticated_access"] = False
        warnings.filterwarnings("ignore", "Extension endpoints without")  # which are closed by it
sys.argv += [f"--{name}={value}" for name, value in options.items()]
from jupyterlab.labapp import main
sys.exit(main())
"""
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"autosave": True, "autosaveInterval": AUTOSAVE_S},
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": False,
        "fetchNews": "false",
    },
}


class Server:
    """JupyterLab's server.

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
        self.printer = None
        self.notices = Notices(own / "labextensions")

    def start(self, is_over):
        """Start it, and wait until it answers.

        Args:
            is_over: whether nobody needs it any more.

        Returns:
            whether it answers.

        Raises:
            NoPageError: not its user alone, or not in time.
        """
        self.notices.install()
        write_settings(self.own / "config" / "labconfig")
        deadline = time.monotonic() + START_S
        for _ in range(PORT_TRIES):
            self._start_once()
            while self.child.poll() is None and not is_over():
                if answers(self.port, self.page.token):
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
        self.printer = threading.Thread(target=print_without, args=output, daemon=True)
        self.printer.start()

    def _prepare_child(self):
        """Let Linux end the child if this process is killed, and give it the user's umask."""
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        os.umask(self.umask)

    def status(self):
        """Its exit status; None while it runs."""
        return None if self.child is None else self.child.poll()

    def require_closed(self):
        """Make sure that it still lets its user in, and nobody else.

        Raises:
            NoPageError: it lets everybody in.
            OSError, HTTPException: it does not answer.
        """
        require_closed(self.port, self.page.token)

    def tell(self, words, is_end=False):
        """Show a notice in the page and in its terminals.

        Args:
            words: what happens to this notebook.
            is_end: whether the page is to save what is open.
        """
        self.notices.show(words, self.child.pid, is_end)

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
        self.printer.join(1)  # a program that a kernel has left may hold the pipe

    def configuration(self):
        """The files in which Jupyter has found its settings and its extensions."""
        return configuration(self._environment(), self.own)

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


def print_without(output, token):
    """Print what the server says, without its token."""
    for line in output:
        sys.stdout.write(line.decode("utf-8", "replace").replace(token, "..."))
        sys.stdout.flush()


def write_settings(folder):
    """Write JupyterLab's settings."""
    folder.mkdir(parents=True)
    write_private(folder / "default_setting_overrides.json", json.dumps(SETTINGS))


def add_path(env, name, folder):
    """Add a folder to a variable with a list of folders."""
    env[name] = os.pathsep.join(filter(None, [env.get(name), str(folder)]))
