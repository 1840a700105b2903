# SPDX-License-Identifier: MIT
"""Contention reports: records, sums, checks, tables, pictures; and the rule that all is counted."""

import contextlib
import copy
import io
import json
import unittest
import xml.etree.ElementTree as ElementTree
from typing import Any

from launch import contention, control, flame, profile_locks, sitecheck
from launch.errors import UsageError
from launch.records import Results

from tests.launch.helpers import FileCase

RECORDS: list[dict[str, Any]] = [
    {"begin": 5},
    {"site": [0, "cas", "inbox", "percpu/inbox.c", 10, "inbox_push"]},
    {"site": [1, "wait", "flush", "percpu/tlb.c", 20, "shootdown"]},
    {"site": [2, "cas", "state", "percpu/sched_impl.h", 30, "set_state"]},
    {"site": [3, "cas", "state", "percpu/sched_impl.h", 30, "set_state"]},
    {"site": [4, "cas", "big", "core/a.c", 40, "grow"]},
    {"cpu": 0, "calls": [[0, 1, 3, 50, [1010, 2010]], [1, 2, 9, 700, [1110]]]},
    {"cpu": 0, "rows": [[0, 100, 2, 5, 80], [1, 4, 2, 9, 700], [2, 7, 0, 0, 0]]},
    {"cpu": 1, "calls": [[0, 1, 1, 20, [1010, 2010]]]},
    {"cpu": 1, "rows": [[0, 50, 1, 1, 20], [3, 3, 1, 1, 9], [4, 64, 0, 0, 0]]},
    {"end": {"t_ns": 9, "tsc_hz": 1000000000, "pcpus": 2}},
]
SYMBOLS = [(1000, "inbox_push"), (1100, "shootdown"), (2000, "wake.cold")]


def document() -> dict[str, Any]:
    """What RECORDS say."""
    results = Results({})
    for record in RECORDS:
        results.take_record(json.dumps({"ev": "locks", **record}))
    assert results.locks.last
    contention.resolve(results.locks.last, SYMBOLS)
    return copy.deepcopy(results.locks.last)


class Reports(FileCase):
    def test_sums(self) -> None:
        data = document()
        sites = {site["name"]: site for site in data["sites"]}
        self.assertEqual([site["name"] for site in data["sites"]], ["flush", "inbox", "state", "big"])
        self.assertEqual([sites["inbox"][key] for key in contention.COUNTS], [150, 3, 6, 100])
        self.assertEqual([one["cpu"] for one in sites["inbox"]["per_pcpu"]], [0, 1])
        self.assertEqual(sites["state"]["acquisitions"], 10, "one site, included twice")
        self.assertEqual(sites["big"]["acquisitions"], 64)
        self.assertEqual(data["calls"][1]["stack"], ["wake", "inbox_push"])
        self.assertEqual(data["calls"][1]["contended"], 2, "the same path on both pCPUs")
        self.assertEqual(contention.check(data), [])

    def test_only_complete_reports(self) -> None:
        log = contention.ContentionLog()
        for record in RECORDS[:-1]:
            log.take(record)
        self.assertIsNone(log.last)
        for record in RECORDS:
            log.take(record)
        assert log.last
        self.assertEqual(log.last["sites"][1]["acquisitions"], 150, "the half report is forgotten")

    def test_what_does_not_add_up(self) -> None:
        def broken(site: int, key: str, value: int) -> str:
            data = document()
            data["sites"][site][key] = value
            return "\n".join(contention.check(data))
        self.assertIn("contended of", broken(1, "contended", 151))
        self.assertIn("not the sum", broken(1, "acquisitions", 149))
        self.assertIn("callers is more", broken(1, "wait_cycles", 60))
        self.assertIn("retries", broken(1, "retries", 2))
        self.assertIn("nothing contended", broken(3, "wait_cycles", 1))

    def test_table(self) -> None:
        lines = contention.report(document()).splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:4]], ["flush", "inbox", "state"])
        self.assertIn("2.000%", lines[2])
        self.assertEqual(lines[4], "1 more sites were passed 64 times, never contended; 0 were not "
                                   "reached")
        self.assertIn("big", contention.report(document(), everything=True))

    def test_difference(self) -> None:
        before, after = document(), document()
        after["sites"][1].update(wait_cycles=5000100, contended=75)
        after["sites"][0]["line"] = 99
        found = contention.difference(before, after)
        self.assertEqual(found[0]["name"], "inbox")
        self.assertAlmostEqual(found[0]["change_ms"], 5.0)
        self.assertEqual(found[0]["contended_rate"], [0.02, 0.5])
        self.assertEqual({one["change_ms"] for one in found[1:]}, {0.0}, "other lines do not matter")
        text = contention.report_difference(before, after)
        self.assertIn("+5.000", text.splitlines()[1])
        self.assertNotIn("big", text)

    def test_files(self) -> None:
        good = self.write("a.json", json.dumps(document()).encode())
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(profile_locks.main(["--diff", str(good), str(good)]), 0)
        self.assertIn("inbox_push", out.getvalue())
        for name, text in (("b.json", b"{"), ("c.json", b"{}"), ("d.json", b"[1]")):
            bad = self.write(name, text)
            with self.assertRaisesRegex(UsageError, name):
                profile_locks.main(["--diff", str(good), str(bad)])
        with self.assertRaisesRegex(UsageError, "none.json"):
            profile_locks.main(["--diff", str(good), str(self.dir / "none.json")])
        with self.assertRaisesRegex(UsageError, "--pcpus"):
            profile_locks.main(["--diff", str(good), str(good), "--pcpus"])

    def test_command(self) -> None:
        self.assertEqual(control.check_words(["locks"]), ["locks"])
        with self.assertRaisesRegex(UsageError, "locks: 'x'"):
            control.check_words(["locks", "x"])


class Picture(unittest.TestCase):
    def test_widths(self) -> None:
        paths, unit = profile_locks.paths(document())
        self.assertEqual(unit, "cycles of waiting")
        self.assertEqual(sum(cost for _, cost in paths), 809)
        svg = flame.picture("A & B", paths, unit)
        root = ElementTree.fromstring(svg)
        space = "{http://www.w3.org/2000/svg}"
        boxes = {}
        for group in root.iter(f"{space}g"):
            title, rect = group.find(f"{space}title"), group.find(f"{space}rect")
            assert title is not None and rect is not None and title.text
            boxes[title.text.split(":")[0], rect.get("y")] = (float(rect.get("x", "")),
                                                              float(rect.get("width", "")))
        rows = sorted({int(y or "0") for _, y in boxes})
        whole = boxes["all", str(rows[0])]
        self.assertAlmostEqual(whole[1], 979.4, 1)
        flush = boxes["flush", str(rows[2])]
        self.assertAlmostEqual(flush[1] + 0.6, 980 * 700 / 809, 0)
        for (_, y), (x, width) in boxes.items():
            self.assertTrue(whole[0] <= x and x + width <= whole[0] + whole[1] + 1, y)

    def test_retries_when_there_is_no_time(self) -> None:
        data = document()
        for one in (*data["sites"], *data["calls"]):
            one["wait_cycles"] = 0
        paths, unit = profile_locks.paths(data)
        self.assertEqual((unit, sum(cost for _, cost in paths)), ("retries", 16))

    def test_nothing(self) -> None:
        self.assertIn("0 retries", flame.picture("none", [], "retries"))


LOOP = """/* SPDX */
static int f(int x)
{
	%s
	while (!atomic_compare_exchange_weak(&a, &b, c))
		;
}
"""


class Rule(unittest.TestCase):
    def found(self, text: str, path: str = "core/new.c") -> list[str]:
        """What is wrong with one file."""
        return [line for line in sitecheck.check({path: text}) if "exempt for" not in line]

    def test_loops(self) -> None:
        self.assertEqual(len(self.found(LOOP % "")), 1)
        self.assertIn("core/new.c:2: f()", self.found(LOOP % "")[0])
        self.assertEqual(self.found(LOOP % 'CAS_LOOP(loop, "x");'), [])
        self.assertEqual(self.found(LOOP % "", "guest/new.c"), [])
        self.assertEqual(len(self.found(LOOP % "/* CAS_LOOP(loop) */")), 1, "a comment is no site")
        self.assertEqual(len(self.found("int g(void)\n{\n\tcpu_relax();\n}\n")), 1)
        self.assertEqual(self.found("/* cpu_relax() */\nint g(void)\n{\n}\n"), [])

    def test_locks(self) -> None:
        self.assertEqual(len(self.found("static pthread_mutex_t m;\n")), 1)
        self.assertEqual(len(self.found("static ck_spinlock_t m;\n")), 1)
        self.assertEqual(len(self.found("/* Cannot be lock-free. */\nstatic mtx_lock m;\n")), 1)

    def test_stale_exemptions(self) -> None:
        stale = [line for line in sitecheck.check({}) if "exempt for nothing" in line]
        self.assertEqual(len(stale), len(sitecheck.EXEMPT))


if __name__ == "__main__":
    unittest.main()
