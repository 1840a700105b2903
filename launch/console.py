# SPDX-License-Identifier: MIT
"""The user's terminal, wired to one guest's console."""

import os
import sys
import termios
import tty
from typing import Any

LEAVE = b"\x1d"  # Ctrl-]


class Terminal:
    """Raw mode while attached; ordinary input (a pipe) is passed on as it is."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._saved: list[Any] | None = None

    def __enter__(self) -> "Terminal":
        if os.isatty(self._fd):
            self._saved = termios.tcgetattr(self._fd)
            tty.setraw(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def fileno(self) -> int:
        """For select."""
        return self._fd

    def read(self) -> tuple[bytes, bool, bool]:
        """(input, whether the user wants to leave, whether input ended)."""
        data = os.read(self._fd, 4096)
        if not data:
            return b"", False, True
        before, leave, _ = data.partition(LEAVE) if self._saved is not None else (data, b"", b"")
        return before, bool(leave), False

    @staticmethod
    def write(data: bytes) -> None:
        """Show what the guest wrote."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
