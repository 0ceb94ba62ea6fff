"""Chromium without a window, driven through the two pipes of its own protocol: nothing to install.

A `Browser` is one process. `open` loads a page at a size, and from then on notes each error on its
console and each request.
"""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time

NAMES = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--font-render-hinting=none",
)  # fmt: skip
PATIENCE = 60  # seconds for an answer
KEYS = {  # name: (code of the key, text that it types)
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " "),
    "End": (35, ""), "Home": (36, ""),
    "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowDown": (40, ""),
}  # fmt: skip


class Browser:
    def __init__(self, *flags):
        self._folder = tempfile.mkdtemp(prefix="chromium")
        ours, theirs = os.pipe(), os.pipe()  # (read, write): commands to it, answers from it
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1])]
        os.close(ours[0]), os.close(theirs[1])
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, fd, at) for fd, at in zip(high, (3, 4))]
        command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={self._folder}", "about:blank"]
        group = {"setpgroup": 0}
        self._pid = os.posix_spawn(
            CHROMIUM, command, os.environ, file_actions=quiet + pipes, **group
        )
        for fd in high:
            os.close(fd)
        self._write, self._read = ours[1], theirs[0]
        self._rest, self._numbers, self._session = b"", itertools.count(1), None
        self.errors, self.requests = [], []

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        os.close(self._write)
        os.close(self._read)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, address, width=1440, height=900, phone=False, **media):
        """Load a page; media: features such as prefers_color_scheme="dark"."""
        if self._session is None:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.send(f"{domain}.enable")
        self.errors, self.requests = [], []
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression):
        """The value of a line of JavaScript, or of what it promises."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.send("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, expression):
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never became true: {expression}"
            time.sleep(0.05)

    def press(self, key, shift=False):
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        kind = "keyDown" if text else "rawKeyDown"
        self.send("Input.dispatchKeyEvent", type=kind, text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            button = {"button": "left", "buttons": 1, "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def drag(self, start, end, steps=8):
        """Press at one point, move to another and let go."""
        pressed = {"button": "left", "buttons": 1, "clickCount": 1}
        send = self.send
        send("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **pressed)
        for i in range(1, steps + 1):
            x, y = (a + (b - a) * i / steps for a, b in zip(start, end))
            send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **pressed)
        send("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **pressed)

    def give_file(self, selector, path):
        """Choose a file in an input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def picture(self, of=None):
        """A PNG's bytes: the window, or the element that a selector names, with a margin."""
        options = {"format": "png"}
        if of:
            box = f"document.querySelector({json.dumps(of)}).getBoundingClientRect()"
            x, y, w, h = self.run(
                f"(({{ x, y, width, height }}) => [x + scrollX, y + scrollY, width, height])({box})"
            )
            clip = {"x": x - 8, "y": y - 8, "width": w + 16, "height": h + 16, "scale": 1}
            options |= {"clip": clip, "captureBeyondViewport": True}
        return base64.b64decode(self.send("Page.captureScreenshot", **options)["data"])

    def send(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._write_all(json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._message(end)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _write_all(self, data):
        while data:
            data = data[os.write(self._write, data) :]

    def _message(self, end):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium did not answer within {PATIENCE} s"
            piece = os.read(self._read, 1 << 20)
            assert piece, "Chromium has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in (
            "error", "warning", "assert",
        ):  # fmt: skip
            self.errors.append(str([arg.get("value") for arg in params["args"]]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
