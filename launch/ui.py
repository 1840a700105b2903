# SPDX-License-Identifier: MIT
"""What the user sees while things take time."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from launch.errors import XylemError

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


def colour(index: int, text: str) -> str:
    """Text in the colour of the index-th guest, when stdout is a terminal."""
    if not sys.stdout.isatty():
        return text
    return f"\033[{_COLOURS[index % len(_COLOURS)]}m{text}\033[0m"


class Progress:
    """One status line: redrawn in place on a terminal, else a line now and then."""

    def __init__(self, every: float = 10.0) -> None:
        self._tty = sys.stderr.isatty()
        self._every = 0.2 if self._tty else every
        self._last = time.monotonic() if not self._tty else 0.0
        self._drawn = False

    def show(self, text: str) -> None:
        """Show text, unless something was shown a moment ago."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        if self._tty:
            sys.stderr.write(f"\r\033[K{text[:160]}")
            self._drawn = True
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the status line, before ordinary output."""
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._drawn = False
            self._last = 0.0

    def quiet(self) -> None:
        """Other output was just shown: no status line is due on a dumb terminal."""
        if not self._tty:
            self._last = time.monotonic()


class Board(Progress):
    """A status line with a table below it, redrawn in place at the bottom of a terminal."""

    def __init__(self, view: Callable[[int, int], list[str]]) -> None:
        super().__init__()
        self._view = view  # (height, width) -> lines
        self._height = 0
        self._shown = 0.0

    def show(self, text: str) -> None:
        now = time.monotonic()
        if now - self._shown < 0.25:
            return
        self._shown = now
        columns, rows = shutil.get_terminal_size()
        lines = [line[:columns - 1] for line in
                 [text, *self._view(max(0, rows // 2 - 1), columns - 1)]]
        self.clear()
        sys.stdout.write("\n".join(lines))
        sys.stdout.flush()
        self._height = len(lines)

    def clear(self) -> None:
        if self._height:
            up = f"\033[{self._height - 1}A" if self._height > 1 else ""
            sys.stdout.write(f"\r{up}\033[J")
            sys.stdout.flush()
            self._height = 0

    def quiet(self) -> None:
        """It always is one, on a terminal."""


def say(text: str) -> None:
    """One line about what is being done."""
    print(f"xylem: {text}", file=sys.stderr, flush=True)


def watch(label: str, command: list[str], cwd: Path | None = None,
          tail: bool = False, timeout: float | None = None) -> tuple[int, str]:
    """
    Run a command quietly, showing that time passes (tail: and its last line).
    It is killed with all its children when we are interrupted or at the timeout.
    Returns (exit status, output).
    """
    progress = Progress()
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
        except FileNotFoundError:
            raise XylemError(f"{label}: no program '{command[0]}'") from None
        try:
            while process.poll() is None:
                elapsed = time.monotonic() - start
                if timeout and elapsed > timeout:
                    break
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    last = f": {_last_line(out.fileno())}" if tail else ""
                    progress.show(f"xylem: {label} ... {elapsed:.0f} s{last}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        progress.clear()
        out.seek(0)
        return process.returncode, out.read().decode(errors="replace")


def _last_line(fd: int) -> str:
    size = os.fstat(fd).st_size
    lines = os.pread(fd, 400, max(0, size - 400)).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def step(label: str, command: list[str], cwd: Path | None = None) -> str:
    """A command that must succeed; its output is shown when it does not."""
    status, text = watch(label, command, cwd)
    if status:
        sys.stderr.write(text[-8000:])
        raise XylemError(f"{label} failed: {' '.join(command)}")
    return text
