# SPDX-License-Identifier: MIT
"""What the user sees while things take time."""

import subprocess
import sys
import tempfile
import time
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


def say(text: str) -> None:
    """One line about what is being done."""
    print(f"xylem: {text}", file=sys.stderr, flush=True)


def step(label: str, command: list[str], cwd: Path | None = None,
         env: dict[str, str] | None = None) -> str:
    """Run a command quietly, showing that time passes; its output is shown when it fails."""
    progress = Progress()
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise XylemError(f"{label}: no program '{command[0]}'") from None
        try:
            while process.poll() is None:
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    progress.show(f"xylem: {label} ... {time.monotonic() - start:.0f} s")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        progress.clear()
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode:
        sys.stderr.write(text[-8000:])
        raise XylemError(f"{label} failed: {' '.join(command)}")
    return text
