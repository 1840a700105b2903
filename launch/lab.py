# SPDX-License-Identifier: MIT
"""Experiments on a live instance: a ./xylem run of its own, watched and steered from outside."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from launch import control, ui
from launch.errors import XylemError
from launch.records import LogLine, parse_log


class Instance:
    """
    ./xylem run in a process of its own. Inside a 'with' block it can be watched by update(), seen
    by lines and guests, and steered by ctl(); finish() or stop() gives its JSON document.
    """

    def __init__(self, label: str, args: Iterable[str], timeout: float) -> None:
        self._label, self._args, self._timeout = label, list(args), timeout
        self._temp = tempfile.TemporaryDirectory(prefix="xylem-lab-")
        self._dir = Path(self._temp.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._progress = ui.Progress()
        self._read = 0
        self._partial = ""
        self._started = 0.0
        self.lines: dict[str, list[LogLine]] = {}
        self.total: dict[str, Any] = {}
        self.guests: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "Instance":
        command = [sys.executable, "-m", "launch", "run", *self._args,
                   "--json", str(self._dir / "out.json"), "--log", str(self._dir / "log"),
                   "--timeout", str(self._timeout)]
        self._output = open(self._dir / "output", "wb")
        self._started = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._output,
                                         stderr=subprocess.STDOUT, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.clear()
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        self._output.close()
        self._temp.cleanup()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def _read_log(self) -> None:
        path = self._dir / "log"
        if not path.exists():
            return
        with open(path, encoding="utf-8", errors="replace") as log:
            log.seek(self._read)
            text = self._partial + log.read()
            self._read = log.tell()
        *whole, self._partial = text.split("\n")
        for raw in whole:
            line = parse_log(raw)
            if line:
                self.lines.setdefault(line.who, []).append(line)

    def update(self, what: str = "") -> None:
        """Read what is new, and show that time passes."""
        self._read_log()
        headline = ""
        try:
            reply = control.ask(self._pid(), ["list"], 10)
            self.total = reply.get("total", {})
            self.guests = {guest["name"]: guest for guest in reply.get("guests", [])}
            headline = reply.get("headline", "")
        except XylemError:
            pass  # not up yet, or just gone
        self._progress.show(f"xylem: {self._label}: {self.age:.0f} s"
                            + "".join(f"; {text}" for text in (what, headline) if text))

    def _pid(self) -> int:
        assert self._process
        return self._process.pid

    def ctl(self, *words: str | int) -> dict[str, Any]:
        """One ./xylem ctl command; it must succeed."""
        reply = control.ask(self._pid(), control.check_words([str(word) for word in words]), 30)
        if not reply.get("ok"):
            raise XylemError(f"{self._label}: ctl {' '.join(map(str, words))}: "
                             f"{reply.get('error', 'no reason given')}")
        return reply

    def pages(self, name: str, key: str) -> int:
        """A guest's number in the newest memory record."""
        return int((self.guests.get(name, {}).get("memory") or {}).get(key, 0))

    def seen(self, name: str, text: str) -> bool:
        """Whether a guest has printed a line that starts so."""
        return any(line.text.startswith(text) for line in self.lines.get(name, ()))

    def until(self, reached: Callable[[], bool], what: str, seconds: float,
              must: bool = True) -> bool:
        """Watch until something is so; if it is not in time, an error (must) or False."""
        end = time.monotonic() + seconds
        while True:
            self.update(what)
            if reached():
                return True
            dead = [f"{name} is {guest['state']}" for name, guest in self.guests.items()
                    if guest["state"] not in ("running", "not started", "off", "destroyed")]
            if dead or not self.running():
                raise XylemError(f"{self._label}: {', '.join(dead) or 'ended'} while {what}\n"
                                 f"{self._tail()}")
            if time.monotonic() > end:
                break
            time.sleep(0.5)
        if must:
            raise XylemError(f"{self._label}: still {what} after {seconds:.0f} s")
        return False

    def settle(self, value: Callable[[], float], what: str, seconds: float, quiet: float,
               share: float) -> bool:
        """Watch until a value stays within 'share' of itself for 'quiet' seconds; False: not."""
        level, since = -1.0, time.monotonic()

        def steady() -> bool:
            nonlocal level, since
            now = value()
            if level < 0 or abs(now - level) > share * max(level, 1.0):
                level, since = now, time.monotonic()
            return time.monotonic() - since >= quiet
        return self.until(steady, what, seconds, must=False)

    def _tail(self) -> str:
        return "\n".join((self._dir / "output").read_text(errors="replace").splitlines()[-30:])

    def document(self) -> dict[str, Any]:
        """What a run that has ended wrote as its JSON."""
        self._progress.clear()
        self._read_log()
        path = self._dir / "out.json"
        if not path.exists():
            raise XylemError(f"{self._label}: no results were written\n{self._tail()}")
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def keep_log(self, path: Path) -> None:
        """Copy the log to where the user wants it."""
        try:
            shutil.copyfile(self._dir / "log", path)
        except OSError as error:
            raise XylemError(f"cannot write {path}: {error.strerror}") from None

    def stop(self) -> dict[str, Any]:
        """End the guests now; the run's document."""
        assert self._process
        if self.running():
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        return self.document()

    def finish(self, what: str) -> dict[str, Any]:
        """Wait until all guests have ended well; the run's document."""
        assert self._process
        while self.running():
            self.update(what)
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
        if self._process.returncode:
            raise XylemError(f"{self._label}: exit status {self._process.returncode}\n"
                             f"{self._tail()}")
        return self.document()
