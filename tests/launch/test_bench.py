# SPDX-License-Identifier: MIT
"""The boot benchmark's arithmetic and marks."""

import re
import unittest

from launch import bench_boot
from launch.bench_boot import Run


class BootBench(unittest.TestCase):
    def test_medians_and_ratios(self) -> None:
        runs = [Run("xylem", {"entry": 1, "online": 1 + t, "start": 2, "userspace": 4})
                for t in (0.1, 0.3, 0.2)]
        runs += [Run("xen", {"entry": 1, "online": 1 + t, "start": 2, "userspace": 6})
                 for t in (4, 8, 2)]
        runs.append(Run("xen", {"entry": 1}))  # did not finish
        data = bench_boot.document(runs, {})
        self.assertAlmostEqual(data["online_ratio"], 0.2 / 4)
        self.assertAlmostEqual(data["userspace_ratio"], 0.5)
        self.assertIsNone(data["runs"][-1]["online_s"])
        self.assertIn("entry to userspace", bench_boot.table(runs))

    def test_nothing_measured(self) -> None:
        self.assertIsNone(bench_boot.document([], {})["online_ratio"])

    def test_marks_match_their_lines(self) -> None:
        for marks, lines in (
                (bench_boot.XEN_MARKS,
                 ["(XEN) Xen version 4.17.7", "(XEN) Brought up 64 CPUs",
                  "(XEN) Freed 640kB init memory", "[    9.1] xylem-userspace 9.10"]),
                (bench_boot.XYLEM_MARKS,
                 ["[    0.000001] xylem| entry", "[    0.100000] xylem| online 64 pcpus",
                  '{"ev":"start","guest":"linux1"}', "[    1.0] linux1| xylem-userspace 0.9"])):
            for (name, pattern), line in zip(marks.items(), lines, strict=True):
                self.assertTrue(re.search(pattern, line), name)


if __name__ == "__main__":
    unittest.main()
