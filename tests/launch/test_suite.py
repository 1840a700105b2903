# SPDX-License-Identifier: MIT
"""The stress suite's options, seeds, counts and verdicts."""

import unittest

from launch import suite, suite_host, suite_qemu
from launch.errors import UsageError, XylemError
from launch.suite_result import Job, Result
from tests.launch.helpers import quiet


class Options(unittest.TestCase):
    """Which parts run, and for how long."""

    def setUp(self) -> None:
        self.known = suite.parts(("plain", "tsan"))

    def names(self, *only: str) -> list[str]:
        """What --only chooses."""
        return [part.name for part in suite.choose(list(only), self.known)]

    def test_every_part_by_default(self) -> None:
        self.assertEqual(self.names(), [part.name for part in self.known])
        self.assertIn("churn", self.names())
        self.assertTrue(all(part.what for part in self.known))

    def test_only(self) -> None:
        self.assertEqual(self.names("events,timers"), ["events", "timers"])
        self.assertEqual(self.names("timers", "events"), ["events", "timers"])
        self.assertEqual(self.names("mmu"), ["mmu"])
        self.assertTrue(all(name.startswith("host-") for name in self.names("host")))
        with self.assertRaises(UsageError) as caught:
            self.names("events,nothing")
        self.assertIn("'nothing'", str(caught.exception))

    def test_the_time_is_shared(self) -> None:
        chosen = suite.choose(["events", "host-mmu", "memory"], self.known)
        self.assertEqual(suite.shares(chosen, 400),
                         {"events": 100, "memory": 100, "host-mmu": 100})
        self.assertEqual(suite.shares(chosen, 4)["memory"], 30)

    def test_refused(self) -> None:
        for words, named in ((["--minutes", "x"], "--minutes"), (["--seed", "-1"], "--seed"),
                             (["--san", "valgrind"], "'valgrind'"), (["--only", "x1"], "'x1'"),
                             (["--seconds", "0"], "--seconds")):
            with self.assertRaises(UsageError) as caught, quiet():
                suite.main(words)
            self.assertIn(named, str(caught.exception))

    def test_list(self) -> None:
        with quiet():
            self.assertEqual(suite.main(["--list"]), 0)


class Seeds(unittest.TestCase):
    """One seed is one run."""

    def test_a_parts_seed_does_not_depend_on_the_others(self) -> None:
        self.assertEqual(suite.seed_of(7, "mmu"), suite.seed_of(7, "mmu"))
        self.assertNotEqual(suite.seed_of(7, "mmu"), suite.seed_of(7, "events"))
        self.assertNotEqual(suite.seed_of(7, "mmu"), suite.seed_of(8, "mmu"))

    def test_guests_have_seeds_of_their_own(self) -> None:
        guests = suite_qemu.Guests(Job("x", 5, 100))
        guests.add("mini-storm", "a", 3, "mode=mmu")
        guests.add("linux", "b", 1, "quiet")
        words = " ".join(guests.words)
        self.assertIn('name=a,vcpus=3,mem=8M,cmdline="mode=mmu seed=101"', words)
        self.assertIn('cmdline="quiet"', words)

    def test_replay_names_part_and_seed(self) -> None:
        result = Result("host-mmu", "tsan", 12)
        self.assertEqual(suite.replay(result, 5),
                         "./xylem stress --only host-mmu --seed 5 --seconds 12 --san tsan")


class Verdicts(unittest.TestCase):
    """What counts, and what is wrong."""

    def judge(self, state: str = "off", lines: list[str] | None = None,
              **more: object) -> Result:
        """A run of one guest."""
        result = Result("x", "", 1)
        guests = suite_qemu.Guests(Job("x", 5, 1))
        data = {"outcome": "done", "guests": [{"name": "witness", "state": state, "reason": "r"}],
                **more}
        suite_qemu.judge(result, guests, data, {"witness": lines or []}, ["last words"])
        return result

    def test_counts(self) -> None:
        result = self.judge(lines=[
            "mini: PASS role=fuzz ops=100 refused=60 kinds=7", "mini: fuzz errno=22 count=50",
            "mini: fuzz errno=14 count=10", "mini: PASS role=storm mode=mmu ops=11 vcpus=4",
            "mini: PASS role=mem steps=5"])
        self.assertEqual((result.operations, result.refused, result.errnos), (111, 60, 2))
        self.assertEqual(result.ends, {"off": 1})
        self.assertTrue(result.ok)

    def test_nothing_done_is_not_well_done(self) -> None:
        self.assertFalse(self.judge().ok)

    def test_faults(self) -> None:
        fine = ["mini: PASS role=storm mode=mmu ops=11 vcpus=4"]
        for result, named in (
                (self.judge("killed", fine), "witness: killed"),
                (self.judge("off", [*fine, "mini: FAIL role=mem x"]), "mini: FAIL role=mem x"),
                (self.judge("off", fine, outcome="panic"), "panicked"),
                (self.judge("off", fine, outcome="timeout"), "'timeout'"),
                (self.judge("off", fine, hypervisor={"leaked_frames": 3}), "3 frames")):
            self.assertFalse(result.ok)
            self.assertIn(named, "\n".join(result.wrong))
            self.assertIn("last words", "\n".join(result.wrong))

    def test_an_error_is_a_failed_part(self) -> None:
        def broken(job: Job) -> Result:
            raise XylemError("no such machine")
        result = suite.run_part(suite.Part("x", "", broken), "", 1, 2)
        self.assertEqual(result.wrong, ["no such machine"])
        data = suite.document([result], 2, 1)
        self.assertFalse(data["ok"])
        self.assertEqual(data["parts"][0]["replay"], "./xylem stress --only x --seed 2 --seconds 1")

    def test_host_programs_say_what_they_did(self) -> None:
        self.assertEqual(suite_host.count_operations("12 rounds\n  operations          120\n"), 120)
        self.assertEqual(suite_host.count_operations("[----] x\noperations=42\n"), 42)
        self.assertEqual(suite_host.count_operations("100 sends, 7 events\n20 sends\n"), 120)
        self.assertEqual(suite_host.count_operations("Tested: 6 | Passing: 6 | Failing: 0"), 6)
        self.assertEqual(suite_host.count_operations("nothing"), 0)


if __name__ == "__main__":
    unittest.main()
