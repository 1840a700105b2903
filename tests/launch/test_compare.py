# SPDX-License-Identifier: MIT
"""./xylem bench compare: figures from lines, both sides in one table, what is wrong with them."""

import unittest

from launch import bench_compare, compare, plot, svg
from launch.compare import Run
from launch.errors import XylemError


def run(system: str, **medians: int) -> Run:
    """A run that printed these medians."""
    out = Run(system)
    for name, median in medians.items():
        out.take(f"bench: per=1 n=3 median={median} min={median - 1} max={median + 1} name={name}")
    return out


class Figures(unittest.TestCase):
    def test_line(self) -> None:
        out = Run("xen")
        out.take("bench: per=32 n=200 median=64 min=32 max=96 name=mmu_update of 32, per entry\r")
        figure = out.figures["mmu_update of 32, per entry"]
        self.assertEqual((figure.value, figure.low, figure.high, figure.samples), (2, 1, 3, 200))

    def test_other_lines(self) -> None:
        out = Run("xen")
        out.take("(XEN) bench: nothing of ours")
        self.assertEqual((out.figures, len(out.lines)), ({}, 1))

    def test_merge(self) -> None:
        ops = compare.merge("micro", [run("xen", a=100, b=50), run("xylem", a=40)])
        self.assertEqual([(op["name"], op["xen"], op["xylem"], op["ratio"]) for op in ops],
                         [("a", 100, 40, 0.4), ("b", 50, None, None)])
        self.assertEqual(bench_compare.judge(ops, 0.02), ["b: no figure on xylem"])

    def test_runs_that_differ(self) -> None:
        ops = compare.merge("micro", [run("xen", a=100), run("xylem", a=50), run("xen", a=100),
                                      run("xylem", a=53)])
        self.assertEqual(bench_compare.judge(ops, 0.02), ["a: runs differ by 6.0%"])
        self.assertEqual(bench_compare.judge(ops, 0.06), [])

    def test_clock(self) -> None:
        wrong = compare.merge("micro", [run("xen", **{bench_compare.CHECK: 1000}),
                                        run("xylem", **{bench_compare.CHECK: 999})])
        with self.assertRaises(XylemError):
            bench_compare.checked(wrong)

    def test_summary(self) -> None:
        ops = compare.merge("micro", [run("xen", a=100, b=100, c=100),
                                      run("xylem", a=40, b=50, c=120)])
        found = bench_compare.summary(ops)
        self.assertEqual((found["median_ratio"], found["max_ratio"], found["above"]),
                         (0.5, 1.2, ["c"]))

    def test_chart(self) -> None:
        ops = compare.merge("micro", [run("xen", a=100, b=100), run("xylem", a=40, b=120)])
        chart = bench_compare.chart(ops)
        self.assertEqual(plot.charts_of({"charts": [chart]}, "x", []), [chart])
        text = svg.picture([chart])
        self.assertEqual(text.count("<rect"), 3)
        self.assertIn("1.20", text)


if __name__ == "__main__":
    unittest.main()
