# SPDX-License-Identifier: MIT
"""The isolation benchmark's options and arithmetic."""

import unittest
from pathlib import Path
from unittest import mock

from launch import bench_isolation as isolation
from launch import isolation_linux
from launch.bench_isolation import Good
from launch.errors import UsageError, XylemError
from launch.guestspec import parse_guest
from launch.plot import charts_of
from tests.launch.helpers import quiet
from tests.launch.test_density import linux_files


class Isolation(unittest.TestCase):
    def test_guests_are_of_one_weight_and_known_to_the_launcher(self) -> None:
        for hog in isolation.HOGS:
            guests = [parse_guest(text, 4)[0] for text in isolation.specs(hog, 4, 3)]
            self.assertEqual({guest.weight for guest in guests}, {256})
            self.assertEqual([guest.vcpus for guest in guests], [1, 1, 4])
            self.assertIn("mode=", guests[2].cmdline)

    def test_last_lines(self) -> None:
        line = "mini: PASS role=work units=%d running_ns=500000000 vcpus=1"
        goods = isolation.parse({"good1": ["x", line % 100], "good2": [line % 200]})
        self.assertEqual([good.units for good in goods], [100, 200])
        self.assertEqual(goods[1].progress(1), 200)
        self.assertEqual(goods[1].progress(2), 400)
        with self.assertRaises(XylemError):
            isolation.parse({"good1": [line % 100], "good2": ["mini: FAIL role=work"]})

    def test_the_fair_neighbour_comes_first(self) -> None:
        self.assertEqual(isolation.choose("tables,cpu"), ["cpu", "tables"])
        self.assertEqual(isolation.choose(None)[0], "cpu")
        with self.assertRaises(UsageError):
            isolation.choose("disk")

    def run_with(self, units: int, pcpus: int) -> list[dict[str, object]]:
        """Losses when good guests do so many units beside an antagonist, 1000 beside the other."""
        def case(hog: str, *_: object) -> tuple[list[Good], int]:
            done = 1000 if hog == "cpu" else units
            return [Good("good1", done, 10**9), Good("good2", done, 10**9)], 0
        with mock.patch.object(isolation, "run_case", case), quiet():
            return isolation.measure(["cpu", "forks"], pcpus, 1, 1)

    def test_losses(self) -> None:
        results = self.run_with(951, 1)
        self.assertAlmostEqual(float(str(results[-1]["loss"])), 0.049)
        self.assertTrue(all(one["ok"] for one in results))
        self.assertFalse(self.run_with(949, 1)[-1]["ok"])
        self.assertIsNone(self.run_with(100, 2)[-1]["ok"])

    def test_linux_guests_are_of_one_weight_and_say_what_they_do(self) -> None:
        with linux_files():
            for hog in isolation_linux.HOGS:
                guests = isolation_linux.guests(hog, 1, 7, Path("/nowhere"))
                self.assertEqual([guest.name for guest in guests], [*isolation_linux.GOOD, "hog"])
                self.assertEqual({(guest.weight, guest.vcpus) for guest in guests}, {(256, 1)})
                good, bad = guests[2:]
                self.assertEqual(good.least_mem, good.mem)
                self.assertIn("load=work from_ms=90000 secs=7 ", good.cmdline)
                self.assertIn(f"load={'memory' if hog == 'scarce' else hog} ", bad.cmdline)
                self.assertNotIn("secs=", bad.cmdline)
        scarce = isolation_linux.guests
        with linux_files():
            given = sum(guest.mem for guest in scarce("scarce", 1, 7, Path("/nowhere")))
            least = sum(guest.least_mem for guest in scarce("scarce", 1, 7, Path("/nowhere")))
        self.assertGreater(given, isolation_linux.SCARCE_HOST)
        self.assertLess(least, isolation_linux.SCARCE_HOST)

    def test_linux_is_measured_on_one_pcpu(self) -> None:
        for words in (["--linux", "--pcpus", "2"], ["--linux", "--pcpus", "1,2"],
                      ["--linux", "--hog", "disk"]):
            with self.assertRaises(UsageError):
                isolation.main(words)

    def test_losses_of_all_good_guests_are_told(self) -> None:
        def case(hog: str, *_: object) -> tuple[list[Good], int]:
            return [Good(name, 1000 if hog == "cpu" else 990, 10**9)
                    for name in isolation_linux.GOOD], 0
        with mock.patch.object(isolation, "run_case", case), quiet():
            results = isolation.measure(["cpu", "forks"], 1, 1, 1, isolation.LINUX)
        self.assertEqual([one["name"] for one in results], 2 * [*isolation_linux.GOOD])
        chart = isolation.chart(results, 1)
        self.assertEqual([one["name"] for one in chart["series"]], [*isolation_linux.GOOD])

    def test_the_chart_can_be_drawn(self) -> None:
        chart = isolation.chart(self.run_with(990, 1), 1)
        self.assertEqual(charts_of({"charts": [chart]}, "x", []), [chart])
        self.assertEqual(chart["categories"], ["cpu", "forks"])


if __name__ == "__main__":
    unittest.main()
