"""A real browser, Chromium without a window, that loads a page and tells what it did.

It is driven over a pipe, so that no port has to be open. Source: Chrome DevTools Protocol.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.engines.process import TIED, NotReadyError, Service

if TYPE_CHECKING:
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

Scheme = Literal["light", "dark"]

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
_PATIENCE = 60
_DOMAINS = ("Page", "Network", "Log", "Runtime")


@dataclass
class Browser(Service):
    """One page, which is loaded anew for each look at it."""

    process: subprocess.Popen[bytes]
    home: str
    commands: int
    answers: int
    session: str = ""
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for since the last `open`."""
    complaints: list[str] = field(default_factory=list)
    """What stands in the console since then, refusals of the page's own policy among it."""
    _count: int = 0
    _seen: bytes = b""
    _events: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, bed: Shelf, namespace: Namespace) -> Browser:
        """Starts it in a namespace, with an empty profile, which is gone with it."""
        program = bed.part("browser") / "bin" / "chromium"
        home = tempfile.mkdtemp(prefix="bed-browser-")
        # The browser reads commands from its descriptor 3 and answers on 4.
        their_commands, commands = os.pipe()
        answers, their_answers = os.pipe()
        redirected = f'exec "$@" 3<&{their_commands} 4>&{their_answers}'
        shell = ("bash", "-c", redirected, "bash")
        process = subprocess.Popen(
            [*TIED, *namespace.prefix, *shell, program, *_OPTIONS, f"--user-data-dir={home}"],
            env={"PATH": os.environ["PATH"], "HOME": home},
            pass_fds=(their_commands, their_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_commands)
        os.close(their_answers)
        browser = cls(process, home, commands, answers)
        try:
            browser._attach()
        except BaseException:
            browser.stop()
            raise
        return browser

    def stop(self) -> None:
        """See `Service.stop`."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
            os.close(self.commands)
            os.close(self.answers)
            shutil.rmtree(self.home, ignore_errors=True)

    def open(
        self, address: str, *, width: int, height: int = 800, scheme: Scheme = "light"
    ) -> None:
        """Loads an address into a screen of this size, in CSS pixels, until its load event."""
        self.requests.clear()
        self.complaints.clear()
        self._events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media="", features=wanted)
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._message()
        self.value("document.readyState")  # what the load brought about is told before its answer

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"]["value"]

    def screenshot(self) -> bytes:
        """What is on the screen, as WebP."""
        answer = self.call("Page.captureScreenshot", format="webp", quality=90)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        answer = self.call("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        self._count += 1
        command: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        raw = json.dumps(command).encode() + b"\0"
        while raw:
            raw = raw[os.write(self.commands, raw) :]
        while (message := self._message()).get("id") != self._count:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in _DOMAINS:
            self.call(f"{domain}.enable")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._seen:
            ready, _, _ = select.select([self.answers], [], [], _PATIENCE)
            chunk = os.read(self.answers, 1 << 20) if ready else b""
            if not chunk:
                raise NotReadyError(f"the browser has gone, or is silent for {_PATIENCE} s")
            self._seen += chunk
        raw, _, self._seen = self._seen.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.complaints.append(json.dumps(told))
