"""The browser of the tests of pages."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Tab:
    """A page that is driven as its DevTools do: with a pointer and keys of its own, which the page cannot tell."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._left, self._session, self._number = write, read, b"", "", 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Carry out a command of the protocol; what the browser tells meanwhile is not kept."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._write, json.dumps({"id": self._number, "method": method, "params": given} | session).encode() + b"\0"
        )
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._read, 1 << 16)
            assert more, "the browser has gone"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def open(self, address: str, width: int = 1300, height: int = 900) -> None:
        """Load a page, until its scripts have run."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=address)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page, as JSON tells it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def place(self, selector: str, number: int = 0) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, brought into view."""
        return tuple(
            self.ask(f"""(() => {{
            const item = document.querySelectorAll({json.dumps(selector)})[{number}];
            item.scrollIntoView({{block: "center", behavior: "instant"}});
            const {{left, top, width, height}} = item.getBoundingClientRect();
            return [left, top, width, height];
        }})()""")
        )

    def pointer(self, kind: str, x: float, y: float, **given: Any) -> None:
        """``mouseMoved``, ``mousePressed`` or ``mouseReleased`` at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **given)

    def click(self, selector: str, number: int = 0) -> None:
        left, top, width, height = self.place(selector, number)
        for kind in ("mousePressed", "mouseReleased"):
            self.pointer(kind, left + width / 2, top + height / 2, button="left", clickCount=1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        held = {"button": "left", "clickCount": 1}
        self.pointer("mouseMoved", *start)
        self.pointer("mousePressed", *start, **held)
        for share in (0.3, 0.6, 1.0):
            self.pointer(
                "mouseMoved", *(a + share * (b - a) for a, b in zip(start, end, strict=True)), buttons=1, **held
            )
        self.pointer("mouseReleased", *end, **held)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@contextmanager
def browser(home: Path) -> Iterator[Tab]:
    """A tab of a browser without a window, whose settings are in a directory."""
    assert CHROMIUM
    commands, write = os.pipe()
    read, answers = os.pipe()
    flags = [
        "--force-prefers-reduced-motion",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={home / 'profile'}",
    ]
    # The browser reads and writes at 3 and 4.
    shell = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", shell, CHROMIUM, *flags, "--remote-debugging-pipe"], pass_fds=(commands, answers),
        stderr=subprocess.DEVNULL, env=os.environ | {"HOME": str(home)},
    )  # fmt: skip
    os.close(commands)
    os.close(answers)
    try:
        yield Tab(write, read)
    finally:
        os.close(write)
        os.close(read)
        process.wait(60)
