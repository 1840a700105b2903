# SPDX-License-Identifier: MIT
"""The density benchmark's options and arithmetic, and the Linux guests it shares."""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from launch import bench_density, density_linux, linux_load
from launch.errors import UsageError, XylemError
from launch.memory import Sample
from launch.minis import Ran
from launch.plot import charts_of
from launch.records import Results
from tests.launch.helpers import quiet

ENDED = "load: PASS role=work units=%d running_ns=500000000 alarms=3"


@contextmanager
def linux_files() -> Iterator[None]:
    """No kernel is downloaded and no initramfs made."""
    with mock.patch.object(linux_load.debian, "linux_image", lambda: ("package", Path("vmlinuz"))), \
            mock.patch.object(linux_load.compare_linux, "initrd", lambda *_: Path("initrd")):
        yield


class Density(unittest.TestCase):
    def test_command_line(self) -> None:
        words = linux_load.command_line("work", 60, 4).split()
        for word in ("load=work", "from_ms=60000", "secs=4", "tail=1", "rdinit=/init"):
            self.assertIn(word, words)
        self.assertNotIn("secs=", linux_load.command_line("forks", 60))
        with self.assertRaises(ValueError):
            linux_load.command_line("disk", 60)

    def test_last_lines(self) -> None:
        work = linux_load.result("g", ["x", ENDED % 70])
        self.assertEqual((work.units, work.running_ns), (70, 500000000))
        self.assertEqual(linux_load.ready_ms(["load: ready ms=29908"]), 29908)
        for lines in ([], ["load: FAIL up after from_ms="]):
            with self.assertRaises(XylemError):
                linux_load.result("g", lines)
            with self.assertRaises(XylemError):
                linux_load.ready_ms(lines)

    def throughput(self, counts: list[int], each: int) -> list[dict[str, Any]]:
        """With guests that do so many units a second when there are many, and 100 alone."""
        self.began: list[int] = []

        def run(guests: int, from_s: int, secs: int, _: float) -> dict[str, Any]:
            self.began.append(from_s)
            units = secs * (100 if guests == 1 else each)
            return {"guests": guests, "seconds": secs, "units": units, "least": 1, "most": 2,
                    "ready_ms": 30000, "wall_s": 1.0, "memory": {
                        "given_pages": 256, "used_pages": None, "saved_pages": 0}}
        with mock.patch.object(density_linux, "run", run), quiet():
            return density_linux.throughput(counts, 4, 1)

    def test_one_boot(self) -> None:
        sample = Sample(70.5, 1, {}, {"given": 49152, "used": 30000, "saved": 9000})
        ran = Ran({name: ["load: ready ms=%d" % ready, ENDED % units] for name, ready, units in
                   (("linux1", 58000, 70), ("linux2", 59000, 74))}, Results({}), 1 << 30)
        ran.results.memory.series = [Sample(10, 0), sample, Sample(99, 2)]
        with mock.patch.object(density_linux.minis, "run", lambda *_: ran), linux_files(), \
                mock.patch.object(density_linux.build, "hypervisor", lambda: Path("b")):
            found = density_linux.run(2, 70, 4, 1)
        self.assertEqual((found["units"], found["least"], found["most"]), (144, 70, 74))
        self.assertEqual((found["ready_ms"], found["memory"]["used_pages"]), (59000, 30000))

    def test_many_against_one(self) -> None:
        one, many = self.throughput([1, 32], 90)
        self.assertEqual(one["ratio"], 1)
        self.assertAlmostEqual(many["ratio"], 0.9)
        self.assertEqual((one["seconds"], many["seconds"]), (4, 32))
        self.assertGreater(self.began[1], 32 * 30)
        self.assertEqual([row[2] for row in density_linux.rows([one, many])], ["100.0%", "90.0%"])
        charts = bench_density.charts({"linux": [one, many]})
        self.assertEqual(charts_of({"charts": charts}, "x", []), charts)

    def test_what_is_asked_for(self) -> None:
        def parts(*words: str) -> dict[str, Any]:
            found: dict[str, Any] = {}

            def keep(name: str, value: Any) -> Any:
                def take(what: Any, *_: object) -> Any:
                    found[name] = what
                    return value
                return take
            with mock.patch.object(bench_density, "throughput", keep("busy", [])), \
                    mock.patch.object(density_linux, "throughput", keep("linux", [])), \
                    mock.patch.object(bench_density, "sleepers", keep("mini", {})), \
                    mock.patch.object(bench_density, "memory", keep("idle", {"kib": 1})), \
                    mock.patch.object(bench_density, "show", lambda *_: None), \
                    mock.patch.object(bench_density, "charts", lambda *_: []), quiet():
                bench_density.main([*words])
            return found
        self.assertEqual(parts("--linux", "16"), {"linux": [1, 16]})
        self.assertEqual(parts("--linux", "1"), {"linux": [1]})
        self.assertEqual(parts("--linux", "2", "--busy", "1"), {"linux": [1, 2], "busy": [1]})
        self.assertEqual(parts("--small"), {"busy": [1, 2, 4, 8], "mini": 64, "idle": 64})
        self.assertEqual(parts()["busy"][-1], 128)
        with self.assertRaises(UsageError):
            bench_density.main(["--linux", "2", "--pcpus", "2"])


if __name__ == "__main__":
    unittest.main()
