"""Who gets into JupyterLab's server: it is asked for what is protected, without its token.

What an image or a home sets for Jupyter may open it in many ways. So its answers count, no setting.
"""

import json
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from jupyter_notice import say
from jupyter_ports import LOOPBACK, is_listener_ours

STATUS = "/api/status"
CONTENTS, KERNELS, TERMINALS = "/api/contents?content=0", "/api/kernels", "/api/terminals"
LOGIN = "/login"
# Jupyter looks for the token before it looks for the kernel or the terminal of that name
KERNEL, TERMINAL = "/api/kernels/0-0-0-0-0/channels", "/terminals/websocket/hpcdl"
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "aHBjZGwgbG9va3MgaW4uLg==",
    "Sec-WebSocket-Version": "13",
}
# As Jupyter itself does, and not from the working directory
FOLDERS = """
import json, sys
sys.path[:] = [folder for folder in sys.path if folder]
from jupyter_core.application import JupyterApp
print(json.dumps(JupyterApp().config_file_paths))
"""
LOOK_S = 60


class NoPageError(Exception):
    """Why there is no page that its user may open.

    Args:
        words: what is wrong.
        is_setting: whether something that Jupyter reads does this.
    """

    def __init__(self, words, is_setting=False):
        super().__init__(words)
        self.is_setting = is_setting


def answers(port, token):
    """Whether a server answers its user, and nobody else. The token is sent to no other server.

    Raises:
        NoPageError: it lets others in, or refuses its user.
    """
    if not is_listener_ours(port):
        return False
    try:
        answer = ask(port, STATUS)
        if answer.status >= 500:  # not yet
            return False
        require_refusal(answer, f"GET {STATUS}")
        status = ask(port, STATUS, {"Authorization": f"token {token}"}).status
        if 400 <= status < 500:
            raise NoPageError(
                f"JupyterLab refuses its own token (status {status}), so the notebook is ended",
                True,
            )
        if status != 200:
            return False
        require_closed(port, token)
    except (OSError, HTTPException):
        return False
    return True


def require_closed(port, token):
    """Make sure that a server gives nothing to those who have no token.

    Raises:
        NoPageError: it does.
        OSError, HTTPException: it does not answer.
    """
    say("hpcdl: JupyterLab is asked without its token, and has to refuse")
    for path in (CONTENTS, KERNELS, "/lab"):
        require_refusal(ask(port, path), f"GET {path}")
    require_refusal(ask(port, KERNEL, WEBSOCKET), f"a websocket at {KERNEL}")
    # Where nobody may open terminals there is nothing to refuse
    if ask(port, TERMINALS, {"Authorization": f"token {token}"}).status != 404:
        require_refusal(ask(port, TERMINALS), f"GET {TERMINALS}")
        require_refusal(ask(port, TERMINAL, WEBSOCKET), f"a websocket at {TERMINAL}")
    # As a browser comes that has been to the page which asks for the token
    cookies = ask(port, LOGIN).cookies
    if cookies:
        answer = ask(port, CONTENTS, {"Cookie": cookies})
        require_refusal(answer, f"GET {CONTENTS} with the cookies of {LOGIN}")


def require_refusal(answer, question):
    """Make sure that a server has refused, or asked for the token.

    Args:
        answer: what it has answered.
        question: what it was asked, for people.

    Raises:
        NoPageError: it has done neither.
        HTTPException: it cannot answer now.
    """
    if answer.status in (401, 403) or answer.leads_to_login:
        return
    if answer.status >= 500:
        raise HTTPException("busy: this tells nothing of who may enter")
    raise NoPageError(
        f"JupyterLab lets everybody in without the token: {question} gave status {answer.status},"
        " not 401 or 403, so the notebook is ended: others on this node could have used it",
        True,
    )


class Answer:
    """What matters of a server's answer."""

    def __init__(self, response):
        self.status = response.status
        pairs = response.headers.get_all("Set-Cookie", [])
        self.cookies = "; ".join(pair.partition(";")[0] for pair in pairs)
        place = response.headers.get("Location", "").partition("?")[0]
        self.leads_to_login = 300 <= response.status < 400 and place.endswith(LOGIN)


def ask(port, path, headers=None):
    """A server's answer.

    Raises:
        OSError, HTTPException: there is none.
    """
    connection = HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def configuration(env, own):
    """The files in which Jupyter finds its settings, and its extensions; the first ones win.

    Args:
        env: the server's environment.
        own: the folder of those that this notebook has written itself.
    """
    try:
        text = subprocess.check_output(
            [sys.executable, "-c", FOLDERS], env=env, stderr=subprocess.DEVNULL, timeout=LOOK_S
        )
        folders = dict.fromkeys(json.loads(text.decode("utf-8")))
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    files = []
    for folder in map(Path, folders):
        if own not in folder.parents:
            for pattern in ("jupyter*config.py", "jupyter*config.json", "jupyter*config.d/*.json"):
                files += sorted(map(str, folder.glob(pattern)))
    return files
