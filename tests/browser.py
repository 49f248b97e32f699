"""A real headless Chromium, spoken to by its DevTools protocol over a pipe: no port, no library.

Source: https://chromedevtools.github.io/devtools-protocol/, and --remote-debugging-pipe: file descriptors 3 and 4,
messages of JSON that end with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
_QUIET = (
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
)


class Browser:
    """One Chromium with one tab; `events` are those that came since a page was opened."""

    def __init__(self, profile: Path) -> None:
        to_read, to_write = os.pipe(), os.pipe()
        keep = f'exec {PROGRAM} {" ".join([*_FLAGS, *_QUIET])} --remote-debugging-pipe --user-data-dir="$0" about:blank'
        # bash puts the pipe's ends where Chromium looks for them
        argv = ["bash", "-c", f"{keep} 3<&{to_read[0]} 4>&{to_write[1]}", str(profile)]
        self._process = subprocess.Popen(
            argv,
            pass_fds=(to_read[0], to_write[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        self._write, self._read = (
            os.fdopen(to_read[1], "wb", buffering=0),
            os.fdopen(to_write[0], "rb"),
        )
        self._left, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._session = None
        self.ask("Browser.close")
        self._write.close()
        self._process.wait(30)
        self._read.close()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and give its answer; events on the way are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Open a file at a window's width and wait until it is loaded.

        Args:
            scheme: "light" or "dark", what the reader prefers.
            media: "screen" or "print".
        """
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.go(page.absolute().as_uri())

    def go(self, address: str) -> None:
        """Open an address and wait until its page is loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def click(self, selector: str) -> None:
        """Click on the middle of an element, as a mouse does."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        left, top = self.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask(
                "Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", clickCount=1
            )

    def shift_enter(self) -> None:
        """Press both keys."""
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "modifiers": 8}
            self.ask("Input.dispatchKeyEvent", type=kind, **key)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened, itself and what it holds aside."""
        sent = [
            event["params"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        urls = [one["request"]["url"] for one in sent if one["type"] != "Document"]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """What the console and the log say since the page was opened."""
        told = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in told]

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        taken = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(
            self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            block = os.read(self._read.fileno(), 1 << 20)
            assert block, "Chromium has ended"
            self._left += block
        message, _, self._left = self._left.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The Chromium of all tests. Where it is missing they are skipped, but they fail in CI."""
    if PROGRAM is None:
        assert os.environ.get("HPCDL_REQUIRE_TESTBED") != "1", "there is no chromium: make testbed"
        pytest.skip("needs Chromium: apt-get install chromium")
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()
