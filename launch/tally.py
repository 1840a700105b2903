# SPDX-License-Identifier: MIT
"""Counts of ./xylem test, shown as they grow."""

import time

from launch import ui


class Tally:
    """Every check goes through here once."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self._start = time.monotonic()

    def add(self, name: str, fine: bool, why: str = "", quiet: bool = False) -> None:
        """Count one check; failures are always shown."""
        if fine:
            self.passed += 1
            if not quiet:
                print(f"ok      {name}", flush=True)
            return
        self.failed.append(name)
        print(f"FAILED  {name}", flush=True)
        for line in why.rstrip().splitlines()[-60:]:
            print(f"        {line}", flush=True)

    def group(self, title: str) -> None:
        """Announce a group of checks."""
        ui.say(f"[{time.monotonic() - self._start:.0f} s] {title}")

    def finish(self) -> int:
        """Print what failed and the last line; returns the exit status."""
        if self.failed:
            print("\nfailed:")
            for name in self.failed:
                print(f"  {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed or not self.passed else 0
