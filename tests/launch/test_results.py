# SPDX-License-Identifier: MIT
"""Boot modules, records, exit statuses, boot-test verdicts, symbol tables."""

import json
import re
import subprocess
import unittest

from launch import guestspec, ksyms, plan, qemutests, report, sourcecheck
from launch.errors import UsageError
from launch.machine import hypervisor_status, multiboot
from launch.records import GuestResult, Results, parse_log

from tests.launch.helpers import FileCase, elf


def results() -> Results:
    """Two guests that have not started."""
    return Results({name: GuestResult(name, kind, 1, 8) for name, kind in
                    (("linux1", "linux"), ("mini1", "mini"))})


class Plans(FileCase):
    def test_config_and_shared_modules(self) -> None:
        kernel, initrd = self.write("k", elf()), self.write("i", b"initrd")
        guests = guestspec.expand([f"pv:2,kernel={kernel},initrd={initrd},mem=64M,"
                                   'cmdline="a b"', "mini-smp,vcpus=2,pin=0-1"], 4)
        made = plan.make_plan(guests, self.write("m", elf(memsz=0x3000)), {"seed": "7"})
        self.assertEqual(sorted(made.files), ["i0", "k0", "k1"])
        lines = made.config.splitlines()
        self.assertEqual(lines[0], "set seed 7")
        self.assertEqual(lines[1], "guest name=pv1 kind=pv kernel=k0 initrd=i0 vcpus=1 mem=64M "
                                   'weight=256 warp=off pin=all cmdline="a b"')
        self.assertIn("name=pv2 kind=pv kernel=k0 initrd=i0", lines[2])
        self.assertIn('kernel=k1 vcpus=2 mem=8M weight=256 warp=off pin=0-1 cmdline="role=smp"',
                      lines[3])
        modules = made.stage(self.dir)
        self.assertEqual(modules[0][1], "xylem.conf")
        self.assertEqual(modules[0][0].read_text(), made.config)
        for path, ident in modules[1:]:
            self.assertEqual(path.resolve(), made.files[ident])

    def test_quoting(self) -> None:
        self.assertEqual(plan.quoted('a "b" \\c'), 'a \\"b\\" \\\\c')

    def test_too_large_for_the_guest(self) -> None:
        kernel = self.write("k", elf(memsz=5 << 20))
        guests = guestspec.expand([f"pv,kernel={kernel},mem=4M"], 1)
        with self.assertRaisesRegex(UsageError, "pv1 has 4M"):
            plan.make_plan(guests, None, {})

    def test_host_memory(self) -> None:
        guests = guestspec.expand(["mini:2,mem=512M"], 1)
        made = plan.make_plan(guests, self.write("m", elf()), {})
        self.assertGreaterEqual(plan.host_memory(made, None), 2 << 30)
        self.assertEqual(plan.host_memory(made, 3 << 30), 3 << 30)
        self.assertEqual(plan.host_memory(made, 512 << 20), 512 << 20)
        with self.assertRaisesRegex(UsageError, "--mem: 128M.* 128M"):
            plan.host_memory(made, 128 << 20)
        made = plan.make_plan(guestspec.expand(["mini:2,mem=4G,min=4G"], 1), self.write("m", elf()),
                              {})
        # 6% stay free and 5% are kept for swap.
        self.assertGreaterEqual(plan.host_memory(made, None) * 0.89, 8 << 30)

    def test_commas_in_paths_are_doubled(self) -> None:
        args = multiboot(self.dir / "x", "", [(self.dir / "a,b", "k0")])
        self.assertTrue(args[-1].endswith("a,,b k0"))


class Records(unittest.TestCase):
    def test_log_lines(self) -> None:
        line = parse_log("[   12.500000] linux1| hello | you")
        assert line
        self.assertEqual((line.seconds, line.who, line.text), (12.5, "linux1", "hello | you"))
        self.assertIsNone(parse_log("SeaBIOS (version 1.16)"))

    def test_a_whole_run(self) -> None:
        run = results()
        for record in ({"ev": "boot", "pcpus": 4, "t_ns": 250000000},
                       {"ev": "start", "guest": "linux1", "domid": 1, "t_ns": 500000000},
                       {"ev": "stat", "guest": "linux1", "cpu_ns": 10, "events": 1,
                        "hypercalls": 2}):
            self.assertIsNotNone(run.take_record(json.dumps(record)))
        self.assertIsNone(run.take_record("{broken"))
        run.take_log("[    2.000000] linux1| xylem-userspace 1.2")
        run.take_log("[    3.000000] linux1| xylem-userspace 9.9")
        guest = run.guests["linux1"]
        self.assertEqual((guest.state, guest.userspace_s, guest.hypercalls), ("running", 1.5, 2))
        run.take_record(json.dumps({"ev": "end", "guest": "linux1", "state": "off",
                                    "reason": "poweroff", "cpu_ns": 2000000000, "events": 5,
                                    "hypercalls": 6, "start_ns": 500000000,
                                    "end_ns": 4000000000}))
        self.assertEqual((guest.state, guest.cpu_s, guest.events), ("off", 2.0, 5))
        self.assertEqual((run.pcpus_online, run.boot_s), (4, 0.25))
        data = report.document(run, 4, 2 << 30, 1, 5.0, "failed", [])
        self.assertEqual(data["guests"][0]["userspace_s"], 1.5)
        self.assertEqual(data["guests"][1]["state"], "not started")
        text = report.table(run)
        self.assertRegex(text, r"linux1 +off +1 +8 MiB +1\.50 s +2\.00 s +5 +6")

    def test_exit_statuses(self) -> None:
        for written in (0x10, 0x11, 0x12):
            self.assertEqual(hypervisor_status(written << 1 | 1), written)
        for code in (0, 1, -9, 2):
            self.assertIsNone(hypervisor_status(code))


class Verdicts(unittest.TestCase):
    """The boot tests' judge must be able to say no."""

    case = qemutests.Case("x", [], lines={"linux1": ["^xylem-done"]})
    log = "[ 1.0] linux1| xylem-done 1\n"

    def data(self, **changes: str) -> dict[str, object]:
        guest = {"name": "linux1", "state": "off", "reason": "", **changes}
        return {"guests": [guest], "pcpus_online": 2}

    def test_good(self) -> None:
        self.assertEqual(qemutests.judge(self.case, 0, self.data(), self.log), "")

    def test_each_fault_is_seen(self) -> None:
        judge = qemutests.judge
        self.assertIn("exit status", judge(self.case, 1, self.data(), self.log))
        self.assertIn("no JSON", judge(self.case, 0, None, self.log))
        self.assertIn("crashed", judge(self.case, 0, self.data(state="crashed"), self.log))
        self.assertIn("no line like", judge(self.case, 0, self.data(), ""))
        self.assertIn("the log has", judge(self.case, 0, self.data(), self.log +
                                           "[ 1.0] xylem| panic: no\n"))
        online = qemutests.all_online(4)
        case = qemutests.Case("x", [], check=online)
        self.assertIn("2 of 4", judge(case, 0, self.data(), ""))


class Tables(FileCase):
    def test_symbol_table_assembles(self) -> None:
        base = 0xFFFF82D040000000
        source = self.write("k.S", ksyms.assembly(
            [(base + 0x10, "first"), (base + 0x40, "second")], base).encode())
        out = self.dir / "k.o"
        subprocess.run(["gcc", "-c", str(source), "-o", str(out)], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".ksyms", str(out),
                        str(self.dir / "k.bin")], check=True)
        data = (self.dir / "k.bin").read_bytes()
        words = [int.from_bytes(data[i:i + 4], "little") for i in range(0, 20, 4)]
        self.assertEqual(words, [2, 0x10, 0x40, 0, 6])
        self.assertEqual(data[20:], b"first\0second\0\0")

    def test_pairs_pattern(self) -> None:
        self.assertEqual(re.findall(sourcecheck._PAIR, "/* PAIRS: ring_publish */"),
                         ["ring_publish"])


if __name__ == "__main__":
    unittest.main()
