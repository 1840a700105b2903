# SPDX-License-Identifier: MIT
"""bench scale: the model, what is made of the programs' lines, what --check accepts."""

import unittest
from typing import Any

from launch import bench_scale, plot, scale_guest, scale_model
from launch.scale_model import Cost, Machine


def row(op: str, pcpus: int, value: float, transfers: float = 0.0, **more: Any) -> dict[str, Any]:
    """One of lines[] and of qemu.ops[] at once."""
    return {"op": op, "layout": "domains", "pcpus": pcpus, "control": False, "locked": False,
            "blocks": value, "most": value, "instructions": value, "transfers": transfers,
            "hot": [], **more}


class Model(unittest.TestCase):
    def test_nothing_moves(self) -> None:
        for cores in (1, 2, 64):
            self.assertAlmostEqual(scale_model.efficiency(Cost(100), cores, Machine()), 1)

    def test_one_line_of_all(self) -> None:
        cost = Cost(100, 1.0, ((1.0, 64),))
        rate = scale_model.throughput(cost, 64, Machine(50, 50))
        self.assertAlmostEqual(rate, 1 / 50, places=4)  # the line is at one core at a time
        few = scale_model.throughput(cost, 2, Machine(50, 50))
        self.assertLess(few, 2 / 150)
        self.assertGreater(few, 2 / 200)  # two wait for each other now and then

    def test_a_line_of_few_is_only_waited_for(self) -> None:
        cost = Cost(100, 1.0, ((1.0, 2),))
        self.assertAlmostEqual(scale_model.efficiency(cost, 64, Machine(50, 50)), 100 / 150)

    def test_a_lock_is_held_by_one(self) -> None:
        cost = Cost(100, 1.0, ((1.0, 64),), locked=True)
        self.assertAlmostEqual(scale_model.throughput(cost, 64, Machine(50, 50)), 1 / 150)
        self.assertAlmostEqual(scale_model.efficiency(cost, 1, Machine()), 1)

    def test_memory(self) -> None:
        cost = Cost(100, memory_bytes=4000)
        rate = scale_model.throughput(cost, 64, Machine(memory_gb_s=100, socket_cores=32))
        self.assertAlmostEqual(rate, 200 / 4000, places=6)
        self.assertAlmostEqual(scale_model.throughput(cost, 1, Machine()), 1 / 100)

    def test_sockets(self) -> None:
        machine = Machine(50, 120, 32)
        self.assertEqual(machine.transfer_ns(32), 50)
        self.assertTrue(50 < machine.transfer_ns(64) < 120)


class Results(unittest.TestCase):
    def test_native_median(self) -> None:
        rounds = [{"op": "a", "layout": "domains", "control": False, "round": index,
                   "alone": [100, 300], "both": [both, both], "overlap": 1.0}
                  for index, both in enumerate((190, 200, 20))]
        found = bench_scale.native_rows(rounds)[0]
        self.assertAlmostEqual(found["efficiency"], 0.95)
        self.assertAlmostEqual(found["least"], 0.1)
        self.assertAlmostEqual(found["alone_ns"], 1e9 / 200)

    def test_counts(self) -> None:
        self.assertEqual(bench_scale.counts(64), [1, 2, 4, 8, 16, 32, 64])
        self.assertEqual(bench_scale.counts(5), [1, 2, 4])

    def test_check(self) -> None:
        good = [row("mmu_update", 1, 100), row("mmu_update", 4, 104),
                row("one counter", 1, 1, control=True), row("one counter", 4, 1, 0.5, control=True)]
        self.assertEqual(bench_scale.verdicts({"lines": good}), [])
        for bad, text in ((row("mmu_update", 4, 106), "changes by"),
                          (row("mmu_update", 4, 100, 0.25), "moves")):
            wrong = bench_scale.verdicts({"lines": [good[0], bad, *good[2:]]})
            self.assertEqual(len(wrong), 1, wrong)
            self.assertIn(text, wrong[0])
        self.assertIn("blind", bench_scale.verdicts({"lines": good[:2]})[0])
        boots = [{"pcpus": pcpus, "bsp": 9, "ap": ap, "ap_least": 1, "ap_most": 1}
                 for pcpus, ap in ((1, None), (2, 1000.0), (4, 1100.0))]
        self.assertIn("bring-up", bench_scale.verdicts(
            {"qemu": {"ops": [], "bring_up": boots}})[0])

    def test_document_can_be_drawn(self) -> None:
        native = {"transfer_ns": 100.0, "ops": bench_scale.native_rows(
            [{"op": "mmu_update", "layout": "domains", "control": False, "round": 0,
              "alone": [1e7, 1e7], "both": [1e7, 9e6], "overlap": 1.0}])}
        moved = [row("mmu_update", pcpus, 100) for pcpus in (1, 2, 4)]
        data = {"native": native, "lines": moved, "qemu": {"ops": moved, "bring_up": []},
                "model": bench_scale.model(native, moved, Machine())}
        document = bench_scale.document(data)
        self.assertTrue(plot.charts_of(document, "file", []))
        self.assertAlmostEqual(document["model"]["ops"][0]["efficiency"], 1)
        self.assertEqual([one["part"] for one in document["flat"]], ["lines", "qemu"])
        self.assertIn("mmu_update", bench_scale.model_table(data["model"]))


class Guests(unittest.TestCase):
    def test_one_records(self) -> None:
        words = scale_guest.guest_words("domains", 4)
        self.assertEqual(len(words), 4)
        self.assertEqual(sum("record=1" in text for text in words), 1)
        self.assertEqual(len(scale_guest.guest_words("vcpus", 4)), 1)

    def test_windows(self) -> None:
        ops = scale_guest.announced(["scale: op 3 10 2 event send", "mini: PASS"])
        windows = [{"rec": "window", "dump": 3, "op": 3, "cpu": cpu, "hv": 2000 + spin,
                    "spin": spin, "irq": 0, "transfers": cpu * 20}
                   for cpu, spin in ((0, 0), (1, 400))]
        found = scale_guest.gather(windows, ops, "vcpus", 2)[0]
        self.assertEqual((found["instructions"], found["least"], found["most"]), (100, 100, 100))
        self.assertEqual((found["spin"], found["transfers"]), (10, 0.5))
        with self.assertRaises(Exception):
            scale_guest.gather(windows[:1], ops, "vcpus", 2)


if __name__ == "__main__":
    unittest.main()
