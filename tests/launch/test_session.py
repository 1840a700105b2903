# SPDX-License-Identifier: MIT
"""A session from start to end, against a program that plays the hypervisor."""

import contextlib
import io
import os
import time
import unittest
from pathlib import Path
from unittest import mock

from launch import machine
from launch.guestspec import Guest
from launch.machine import Options
from launch.plan import Plan
from launch.records import LogLine
from launch.session import Limits, Outcome, Session
from launch.errors import XylemError

FAKE = str(Path(__file__).with_name("fake_qemu.py"))


class Sessions(unittest.TestCase):
    def play(self, scenario: str, limits: Limits | None = None, attach: str | None = None
             ) -> tuple[Outcome, list[tuple[LogLine | None, str]]]:
        lines: list[tuple[LogLine | None, str]] = []
        plan = Plan([Guest("mini", "g1", mem=8 << 20)])
        options = Options(4, 2 << 30, ports=3 if attach else 2)
        session = Session(plan, options, limits or Limits(timeout=30),
                          lambda line, raw: lines.append((line, raw)), attach)
        with mock.patch.object(machine, "QEMU", FAKE), \
                contextlib.redirect_stderr(io.StringIO()):
            return session.run(lambda _: ["-scenario", scenario]), lines

    def test_clean_end(self) -> None:
        outcome, lines = self.play("off")
        self.assertEqual((outcome.status, outcome.what), (0, "done"))
        guest = outcome.results.guests["g1"]
        self.assertEqual((guest.state, guest.userspace_s, guest.cpu_s), ("off", 1.0, 0.7))
        self.assertEqual((outcome.results.pcpus_online, outcome.results.boot_s), (4, 0.25))
        self.assertEqual(len(lines), 2)

    def test_crashed_guest(self) -> None:
        outcome, _ = self.play("crashed")
        self.assertEqual((outcome.status, outcome.what), (1, "failed"))
        self.assertEqual(outcome.results.guests["g1"].reason, "triple fault")

    def test_one_crashed_guest_ends_all(self) -> None:
        outcome, _ = self.play("one-crashed", Limits(timeout=30, one_failed=True))
        self.assertEqual((outcome.status, outcome.what), (1, "failed"))
        outcome, _ = self.play("one-crashed", Limits(timeout=1))
        self.assertEqual((outcome.status, outcome.what), (1, "timeout"))

    def test_panic(self) -> None:
        outcome, _ = self.play("panic")
        self.assertEqual((outcome.status, outcome.what), (3, "panic"))

    def test_reset(self) -> None:
        outcome, _ = self.play("reset")
        self.assertEqual(outcome.status, 1)
        self.assertIn("reset", outcome.what)

    def test_timeout(self) -> None:
        start = time.monotonic()
        outcome, _ = self.play("hang", Limits(timeout=1))
        self.assertEqual((outcome.status, outcome.what), (1, "timeout"))
        self.assertEqual(outcome.results.guests["g1"].state, "running")
        self.assertLess(time.monotonic() - start, 30)

    def test_for_ends_the_guests(self) -> None:
        outcome, _ = self.play("obey", Limits(seconds=0.3, timeout=30))
        self.assertEqual((outcome.status, outcome.what), (0, "stopped"))
        self.assertEqual(outcome.results.guests["g1"].state, "killed")

    def test_crash_before_for_elapses_is_a_failure(self) -> None:
        outcome, _ = self.play("crashed", Limits(seconds=10, timeout=30))
        self.assertEqual(outcome.status, 1)

    def test_qemu_that_does_not_start(self) -> None:
        with self.assertRaisesRegex(XylemError, "no such machine"):
            self.play("nostart")

    def test_attach_passes_both_ways(self) -> None:
        read_end, write_end = os.pipe()
        os.write(write_end, b"ls\nexit\n")
        os.close(write_end)
        out = io.TextIOWrapper(io.BytesIO())
        with os.fdopen(read_end) as stdin, mock.patch("sys.stdin", stdin), \
                mock.patch("sys.stdout", out):
            outcome, _ = self.play("echo", attach="g1")
        self.assertEqual(outcome.status, 0)
        self.assertEqual(out.buffer.getvalue().replace(b"><", b""),  # type: ignore[attr-defined]
                         b"<ls\nexit\n>")


if __name__ == "__main__":
    unittest.main()
