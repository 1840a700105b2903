# SPDX-License-Identifier: MIT
"""What the memory experiments compute from what they observe."""

import unittest

from launch import esx_policy, esx_sharing, plot, stress_many, stress_mem
from launch.control import check_words
from launch.guestspec import expand
from launch.records import LogLine


class Formulas(unittest.TestCase):
    def test_idle_share(self) -> None:
        self.assertEqual(esx_policy.idle_share(0), 0.5)
        self.assertAlmostEqual(esx_policy.idle_share(75), 0.2)

    def test_phase_errors_take_the_end_of_each_phase(self) -> None:
        truth = [(float(t), 8.0 if t < 10 else 2.0) for t in range(20)]
        estimate = [(float(t), 0.0 if t < 7 else 8.0 if t < 10 else 4.0 if t < 15 else 2.0)
                    for t in range(20)]
        rows = esx_policy.phase_errors(truth, estimate)
        self.assertEqual([(row["active_mib"], row["estimate_mib"]) for row in rows],
                         [(8.0, 8.0), (2.0, 2.0)])


class Plans(unittest.TestCase):
    def test_guests_are_spelled_right(self) -> None:
        for kind in ("linux", "pattern"):
            words = esx_sharing.guest_words(kind, 3, True)
            self.assertEqual(len(expand(words[1:], 2)), 3)
        for small in (True, False):
            plan = stress_mem.Plan(60, 5, small)
            guests = expand(plan.args[1::2], 8)
            self.assertEqual({guest.name: guest.mem >> 20 for guest in guests}, plan.mem)

    def test_the_same_seed_sends_the_same_valid_commands(self) -> None:
        plan = stress_mem.Plan(60, 7, False)
        first, second = (stress_mem.Churn(None, plan) for _ in range(2))  # type: ignore[arg-type]
        for _ in range(200):
            words = first._words()
            self.assertEqual(words, second._words())
            check_words(words)

    def test_charts_can_be_drawn(self) -> None:
        row = {"guests": 1, "touched_pages": 9, "shared_pages": 3, "saved_pages": 2,
               "zero_pages": 1, "shared_share": 0.3, "saved_share": 0.2}
        charts = esx_sharing.charts([row], "linux")
        self.assertEqual(plot.charts_of({"charts": charts}, "x", []), charts)


class Answers(unittest.TestCase):
    def test_what_a_guest_says(self) -> None:
        guest = stress_many.Guest("g")
        self.assertEqual(guest.take([(1.0, "xylem-userspace 1.0"), (4.0, "xylem-answer q0 ok"),
                                     (9.0, "xylem-answer q1 wrong"), (11.0, "xylem-answer")]),
                         ["q0", "q1"])
        self.assertEqual((len(guest.answers), guest.wrong), (2, 1))
        guest.take([(10.0, "xylem-answer q2")])  # cut off
        self.assertEqual(guest.wrong, 2)
        self.assertEqual(guest.silence(2.0, 11.0), 5.0)
        self.assertEqual(guest.silence(2.0, 30.0), 20.0)

    def test_troubled_ends_are_told(self) -> None:
        class Lab:
            lines = {"a": [LogLine(1.0, "a", "xylem-dmesg-clean: 9 lines")],
                     "b": [LogLine(1.0, "b", "xylem-dmesg-dirty: 1 lines")]}

        data = {"guests": [{"name": "a", "state": "off", "reason": ""},
                           {"name": "b", "state": "failed", "reason": "why"}]}
        self.assertEqual(stress_many.after(Lab(), data, ["a", "b"]),  # type: ignore[arg-type]
                         ["b: failed (why)", "b: xylem-dmesg-dirty: 1 lines"])


class Verdicts(unittest.TestCase):
    def test_a_run_in_which_nothing_moved_proves_nothing(self) -> None:
        class Lab:
            lines: dict[str, list[str]] = {}

            def seen(self, name: str, text: str) -> bool:
                return True

        plan = stress_mem.Plan(10, 1, True)
        total = dict.fromkeys(stress_mem.MUST_HAPPEN, 1)
        data = {"outcome": "done", "guests": [], "mem_series": [{"total": total}]}
        self.assertEqual(stress_mem.verdict(Lab(), plan, data, {"balloon": 1}), [])
        total["swapped"] = 0
        self.assertEqual(len(stress_mem.verdict(Lab(), plan, data, {"balloon": 1})), 1)
        self.assertEqual(len(stress_mem.verdict(Lab(), plan, data, {})), 2)
