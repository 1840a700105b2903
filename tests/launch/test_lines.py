# SPDX-License-Identifier: MIT
"""What profile lines makes of the profiler's records."""

import re
import unittest
import xml.etree.ElementTree as ElementTree
from typing import Any

from launch import commute, heatmap, hvnames, lines_run, profile_lines, profiler
from launch.errors import XylemError
from launch.paths import ROOT


def side(cpu: int, **counts: Any) -> dict[str, Any]:
    """One side of a line; nothing counted unless said."""
    return {"cpu": cpu, "r": 0, "w": 0, "irq_r": 0, "irq_w": 0, "rmask": "0", "wmask": "0",
            "rpc": "0", "wpc": "0", "transfers": 0, **counts}


def window(dump: int, cpu: int, op: int) -> dict[str, Any]:
    """A window's record."""
    return {"rec": "window", "dump": dump, "cpu": cpu, "op": op, "transfers": 0}


class FakeNames:
    """Every line is called by its address; those above 0x1000 are guests' pages."""

    def line(self, line: dict[str, Any], mask: int) -> hvnames.Place:
        """As Names does."""
        return hvnames.Place(f"{line['phys']}/{mask:x}", int(line["phys"], 16) > 0x1000)

    def code(self, address: int) -> str:
        """As Names does."""
        return f"f{address:x}"


def pair(a: str, b: str, lines: int) -> commute.Pair:
    """A pair that shares so many lines."""
    sides = [{"reads": 40, "writes": 0}, {"reads": 0, "writes": 40}]
    return commute.Pair(1, a, b, [commute.Line("x", False, False, sides) for _ in range(lines)])


class Sharing(unittest.TestCase):
    """commute: which lines count, and for what."""

    def test_only_read(self) -> None:
        self.assertFalse(commute.shared_by([side(2, r=1), side(3, r=4)], True))

    def test_written_by_one_used_by_one(self) -> None:
        self.assertFalse(commute.shared_by([side(2, r=1, w=1), side(3)], True))

    def test_written_and_read(self) -> None:
        self.assertTrue(commute.shared_by([side(2, w=1), side(3, r=1)], False))
        self.assertTrue(commute.shared_by([side(2, w=1), side(3, w=1)], False))

    def test_interrupts_count_apart(self) -> None:
        sides = [side(2, irq_w=1), side(3, r=1)]
        self.assertFalse(commute.shared_by(sides, False))
        self.assertTrue(commute.shared_by(sides, True))

    def test_gather(self) -> None:
        line = {"rec": "line", "dump": 0, "phys": "0x40",
                "sides": [side(2, w=2, wmask="0xf"), side(3, r=1, rmask="0xf0")]}
        forced = {**line, "phys": "0x2000"}
        irq = {**line, "phys": "0x80", "sides": [side(2, irq_w=2), side(3, r=1, rmask="1")]}
        records = [window(-1, 2, 9), window(0, 3, 1), window(0, 2, 0), line, forced, irq,
                   window(1, 2, 1), window(1, 3, 1)]
        pairs = commute.gather(records, FakeNames(), {0: "a", 1: "b"}, 1, False)  # type: ignore
        self.assertEqual([(one.a, one.b) for one in pairs], [("a", "b"), ("b", "b")])
        self.assertEqual([line.what for line in pairs[0].shared], ["0x40/ff"])
        self.assertEqual([line.what for line in pairs[0].forced], ["0x2000/ff"])
        self.assertEqual([line.what for line in pairs[0].interrupts], ["0x80/1"])
        self.assertEqual(pairs[1].lines, [])

    def test_sides_on_one_cpu(self) -> None:
        with self.assertRaises(XylemError):
            commute.gather([window(0, 2, 0), window(0, 2, 1)], FakeNames(),  # type: ignore
                           {0: "a", 1: "b"}, 1, False)

    def test_counts_agree_with_the_guest(self) -> None:
        text = (ROOT / "guest" / "roles" / "commute.h").read_text()
        numbers = dict(re.findall(r"#define (COMMUTE_\w+) (\d+)", text))
        self.assertEqual(commute.RUNS, int(numbers["COMMUTE_RUNS"]) - int(numbers["COMMUTE_WARM"]))


class Gate(unittest.TestCase):
    """profile_lines.compare()."""

    def test_clean(self) -> None:
        self.assertEqual(profile_lines.compare([pair("a", "b", 0)]), [])

    def test_no_longer_clean(self) -> None:
        self.assertEqual(len(profile_lines.compare([pair("a", "b", 1)])), 1)
        self.assertEqual(len(profile_lines.compare([pair("a", "b", 0), pair("a", "c", 3)])), 1)

    def test_once_per_batch(self) -> None:
        one = pair("a", "b", 1)
        one.lines[0].accesses[0]["reads"] = commute.RARE
        self.assertEqual(profile_lines.compare([one]), [])
        self.assertEqual(len(one.shared), 1)

    def test_blind(self) -> None:
        control = profile_lines.CONTROL
        self.assertEqual(len(profile_lines.compare([pair(control, control, 0)])), 1)
        self.assertEqual(profile_lines.compare([pair(control, control, 5)]), [])


class Naming(unittest.TestCase):
    """hvnames.Types.path() and offset()."""

    def setUp(self) -> None:
        self.types = hvnames.Types.__new__(hvnames.Types)
        self.types._types = {
            "u64": {"size": 8}, "u32": {"size": 4},
            "anon": {"size": 8, "fields": [[0, "lo", "u32"], [4, "hi", "u32"]]},
            "row": {"size": 24, "array": [3, "u64"]},
            "s": {"size": 40, "fields": [[0, "id", "u64"], [8, "", "anon"], [16, "row", "row"]]}}
        self.types.structs = {"s": "s"}

    def test_path(self) -> None:
        self.assertEqual(self.types.path("s", 0), ".id")
        self.assertEqual(self.types.path("s", 12), ".hi")
        self.assertEqual(self.types.path("s", 33), ".row[2]")
        self.assertEqual(self.types.path("s", 99), "")

    def test_offset(self) -> None:
        self.assertEqual(self.types.offset("s", "hi"), 12)
        with self.assertRaises(XylemError):
            self.types.offset("s", "none")

    def test_mask(self) -> None:
        self.assertEqual(hvnames.mask_offsets(0xff), [0])
        self.assertEqual(hvnames.mask_offsets(0xf0f0), [4, 12])
        self.assertEqual(hvnames.mask_offsets(0xffff), [0, 8])


class Pictures(unittest.TestCase):
    """The heat map is well-formed, with one cell per pair."""

    def test_cells(self) -> None:
        text = heatmap.picture([("t & t", ["a", "b<"],
                                 {("a", "a"): (0, 0, 1), ("a", "b<"): (12, 1, 0),
                                  ("b<", "b<"): (0, 2, 3)}),
                                ("t", ["c"], {("c", "c"): (0, 0, 0)})])
        root = ElementTree.fromstring(text)
        cells = [one for one in root.iter("{http://www.w3.org/2000/svg}rect")
                 if one.find("{http://www.w3.org/2000/svg}title") is not None]
        self.assertEqual(sorted(str(one.get("class")) for one in cells),
                         ["h-forced", "h-interrupt", "h-many", "h-none"])


class Totals(unittest.TestCase):
    """lines_run.totals()."""

    def test_all_cpus_together(self) -> None:
        one = {"rec": "entry", "entry": profiler.ENTRIES["do_mmu_update"], "cpu": 0, "calls": 2,
               "hv": 10, "transfers": 1}
        found = lines_run.totals([one, {**one, "cpu": 1, "calls": 3}])
        self.assertEqual(found, [{"name": "mmu_update", "calls": 5, "instructions": 20,
                                  "moves": 2}])
