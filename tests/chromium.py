"""A headless Chromium that tests drive through its DevTools protocol, over pipes: no package is needed for it."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Seconds after which an answer or an event is given up.
PATIENCE = 60


def require_chromium():
    """Return the program, or skip with the reason."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser here (none of {', '.join(NAMES)}): apt-get install chromium")
    return found


class Chromium:
    """One page of a browser. Requests, console messages and errors of the page are kept in lists."""

    def __init__(self, width=1400, height=900, dark=False):
        program = require_chromium()
        self.folder = tempfile.mkdtemp()
        (reads, self._write), (self._read, writes) = os.pipe(), os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        flags += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
        command = [program, *flags, f"--user-data-dir={self.folder}", "about:blank"]
        # The browser reads from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", *command],
            pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._number, self._buffer, self._session = 0, b"", None
        self.events, self.requests, self.messages = [], [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.prefer(dark)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(timeout=20)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **parameters):
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        """Read one message; events are kept."""
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise TimeoutError("the browser has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        kind, about = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(about)
        if kind:
            self.events.append(kind)
        return message

    def open(self, path, body="document.body"):
        """Open a file and wait until the map in `body` is drawn; returns the milliseconds that its page took."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + PATIENCE
        while self.evaluate(f"{body}?.dataset.ready") != "true":
            assert time.monotonic() < until and not self.messages, self.messages
            time.sleep(0.02)
        return self.evaluate(f"{body}.ownerDocument.defaultView.explorer.readyAfter")

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def resize(self, width, height, ratio=1):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False
        )

    def prefer(self, dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def mouse(self, kind, x, y, buttons=0, modifiers=0):
        button = "left" if buttons or kind == "mouseReleased" else "none"
        more = {"button": button, "buttons": buttons, "modifiers": modifiers, "clickCount": int(kind != "mouseMoved")}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, places, modifiers=0):
        """Press at the first place, move over the others, and let go; one place is a click."""
        self.mouse("mousePressed", *places[0], 1, modifiers)
        for place in places[1:]:
            self.mouse("mouseMoved", *place, 1, modifiers)
        self.mouse("mouseReleased", *places[-1], 0, modifiers)

    def press(self, key, code=0, text=""):
        more = {"key": key, "windowsVirtualKeyCode": code, "code": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path, whole=False):
        """Save what is seen as a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
