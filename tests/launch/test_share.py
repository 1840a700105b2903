# SPDX-License-Identifier: MIT
"""What the sharing benchmark makes of what its program says."""

import argparse
import contextlib
import io
import json
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from launch import bench_share, share_cost
from launch.errors import UsageError, XylemError

MIX = bench_share.Mix(4, 32, 75, 5, 8, True, 1, 0)


def ksm(cpu_s: float, **more: Any) -> dict[str, Any]:
    """A line of results of KSM's side."""
    return {"merged": 1000, "cpu_s": cpu_s, "best": 1000, "scanned": 4000, "wrong": 0} | more


def xylem(cpu_s: float, **more: Any) -> dict[str, Any]:
    """The same of Xylem's."""
    return {"merged": 1000, "cpu_s": cpu_s, "best": 1000, "scanned": 2000, "guessed": 750,
            "remaps": 100, "wrong": 0} | more


def options(**more: Any) -> argparse.Namespace:
    """Options as the parser gives them."""
    return argparse.Namespace(**{"guests": "4", "mib": "32", "equal": "75", "zero": "5", "run": "8",
                                 "scatter": True, "seed": "1", "writes": "0", "variants": "1"}
                              | more)


class Results(unittest.TestCase):
    def test_the_ratio_is_the_median_of_the_rounds(self) -> None:
        sides = [ksm(1.0), xylem(0.5), ksm(1.0), xylem(0.1), ksm(1.0), xylem(0.2)]
        with mock.patch.object(bench_share, "program", side_effect=sides) as program, \
                mock.patch.object(bench_share, "alone"), \
                contextlib.redirect_stderr(io.StringIO()), \
                contextlib.redirect_stdout(io.StringIO()):
            found = bench_share.compare(Path(), MIX, 3, 0)
        self.assertEqual([call.args[1][0] for call in program.call_args_list],
                         ["ksm", "xylem"] * 3)
        self.assertAlmostEqual(found["merge_ratio"], 5.0)
        self.assertAlmostEqual(found["ksm_merged_per_cpu_s"], 1000)
        self.assertAlmostEqual(found["xylem_merged_per_cpu_s"], 5000)
        self.assertAlmostEqual(found["xylem_guessed_share"], 0.75)
        self.assertAlmostEqual(found["remaps_per_merged_page"], 0.1)
        self.assertAlmostEqual(found["ksm_vain_scans"], 0.75)
        self.assertEqual(len(found["rounds"]), 3)

    def test_a_kernel_that_counts_no_scans(self) -> None:
        self.assertIsNone(bench_share.vain(ksm(1.0, scanned=0)))
        found = bench_share.summary(MIX, [{"ksm": ksm(1.0, scanned=0), "xylem": xylem(1.0),
                                           "ratio": 1.0}])
        self.assertIsNone(found["ksm_vain_scans"])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            bench_share.show({"mixes": {"asked": found}})
        self.assertIn("asked", out.getvalue())

    def test_merged_to_the_page_without_a_writer(self) -> None:
        bench_share.check_merged({"merged": 1000, "best": 1000}, 0)
        bench_share.check_merged({"merged": 901, "best": 1000}, 1000)
        for merged, writes in ((999, 0), (1001, 0), (899, 1000), (1001, 1000)):
            with self.assertRaises(XylemError):
                bench_share.check_merged({"merged": merged, "best": 1000}, writes)

    def test_wrong_bytes_and_failures_are_errors(self) -> None:
        for status, line in ((0, xylem(1.0, wrong=1)), (1, xylem(1.0))):
            done = mock.Mock(returncode=status, stdout=json.dumps(line))
            with mock.patch.object(bench_share.subprocess, "run", return_value=done):
                with self.assertRaises(XylemError):
                    bench_share.program(Path(), ["xylem"])

    def test_looks_are_priced_where_nothing_else_was_done(self) -> None:
        series = [{"looked": 0, "scanned": 0, "scan_ns": 0},
                  {"looked": 100, "scanned": 50, "scan_ns": 500000},
                  {"looked": 300, "scanned": 50, "scan_ns": 580000}]
        self.assertEqual(share_cost.look_cost(series), 400)
        with self.assertRaises(XylemError):
            share_cost.look_cost(series[:2])


class Images(unittest.TestCase):
    def test_variants_differ_in_runs_and_places_only(self) -> None:
        found = bench_share.mixes(options())
        self.assertEqual(found["asked"], MIX)
        self.assertEqual({(mix.run, mix.scatter) for name, mix in found.items() if name != "asked"},
                         {(1, False), (16, False), (1, True), (16, True)})
        for mix in found.values():
            self.assertEqual(mix.words()[:4], MIX.words()[:4])
        self.assertEqual(list(bench_share.mixes(options(variants="0"))), ["asked"])

    def test_bad_options(self) -> None:
        for bad in ({"zero": "80"}, {"guests": "1"}, {"mib": "x"}, {"run": "0"}):
            with self.assertRaises(UsageError):
                bench_share.mixes(options(**bad))
