# SPDX-License-Identifier: MIT
"""./xylem run's options: what is understood, and how bad ones are refused."""

import random
import string
import subprocess
import unittest

from launch import guestspec, run
from launch.errors import UsageError
from launch.paths import ROOT
from launch.units import format_cpus, parse_cpus, parse_size

from tests.launch.helpers import FileCase, elf


class Specs(unittest.TestCase):
    def test_all_keys(self) -> None:
        guests = guestspec.expand(
            ['linux:2,vcpus=3,mem=128M,weight=512,warp=100:2000:5000,pin=0-1+3,'
             'cmdline="quiet a=1,2",name=web'], 4)
        self.assertEqual([guest.name for guest in guests], ["web1", "web2"])
        guest = guests[1]
        self.assertEqual((guest.vcpus, guest.mem, guest.weight), (3, 128 << 20, 512))
        self.assertEqual((guest.warp, guest.pin), ("100:2000:5000", "0-1+3"))
        self.assertEqual(guest.cmdline, "quiet a=1,2")

    def test_default_names_count_per_kind(self) -> None:
        guests = guestspec.expand(["linux", "mini:2", "linux:2", "mini-smp"], 4)
        self.assertEqual([guest.name for guest in guests],
                         ["linux1", "mini1", "mini2", "linux2", "linux3", "mini-smp1"])

    def test_roles(self) -> None:
        for kind, family, role in (("mini", "mini", "hello"), ("mini-proc", "mini", "proc")):
            guest, = guestspec.expand([kind], 1)
            self.assertEqual((guest.family, guest.role), (family, role))

    def test_default_guests_are_valid(self) -> None:
        self.assertGreater(len(guestspec.expand(run.DEFAULT_GUESTS, 4)), 2)

    def test_sizes(self) -> None:
        self.assertEqual(parse_size("256M", "x"), 256 << 20)
        self.assertEqual(parse_size("2GiB", "x"), 2 << 30)
        self.assertEqual(parse_size("4096", "x"), 4096)

    def test_cpu_sets_round_trip(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        for _ in range(200):
            cpus = set(rng.sample(range(255), rng.randrange(1, 40)))
            text = format_cpus(cpus)
            self.assertEqual(parse_cpus(text, "x", 255), text, f"seed {seed}")
            if max(cpus) < 254:
                with self.assertRaises(UsageError, msg=f"seed {seed}"):
                    parse_cpus(text, "x", max(cpus))


class Refusals(FileCase):
    def test_each_names_the_word(self) -> None:
        for words, named in (
                (["--guest", "windows"], "'windows'"),
                (["--guest", "linux:0"], "'0'"),
                (["--guest", "linux:many"], "'many'"),
                (["--guest", "linux,vcpus=129"], "'129'"),
                (["--guest", "linux,vcpus=0"], "'0'"),
                (["--guest", "linux,vcpus=-1"], "'-1'"),
                (["--guest", "linux,colour=red"], "'colour=red'"),
                (["--guest", "linux,vcpus"], "vcpus"),
                (["--guest", "linux,vcpus="], "vcpus"),
                (["--guest", "linux,vcpus=1,vcpus=2"], "given twice"),
                (["--guest", "linux,mem=95M"], "'mem=95M'"),
                (["--guest", "mini,mem=3M"], "'mem=3M'"),
                (["--guest", "mini,mem=lots"], "'lots'"),
                (["--guest", "mini,mem=4194305"], "multiple of 4K"),
                (["--guest", "mini,pin=4"], "CPU 4"),
                (["--guest", "mini,pin=3-1"], "'3-1'"),
                (["--guest", "mini,pin=x"], "'x'"),
                (["--guest", "mini,warp=1:2"], "'1:2'"),
                (["--guest", "mini,weight=0"], "'0'"),
                (["--guest", "mini,kernel=/nowhere"], "'/nowhere'"),
                (["--guest", "mini,name=a b"], "'a b'"),
                (["--guest", 'mini,cmdline="a'], "quote"),
                (["--guest", "pv"], "kernel=FILE"),
                (["--guest", "mini,name=x", "--guest", "mini,name=x"], "'x'"),
                (["--guest", "mini:2,name=x", "--guest", "mini,name=x2"], "'x2'"),
                (["--pcpus", "256"], "'256'"),
                (["--pcpus", "0"], "'0'"),
                (["--pcpus", "four"], "'four'"),
                (["--mem", "16M"], "16M"),
                (["--mem", "300M", "--guest", "linux:2,min=151M"], "300M"),
                (["--frobnicate"], "--frobnicate")):
            with self.subTest(words=words):
                self.assertIn(named, self.refused(*words))

    def test_random_garbage_is_refused_in_one_line(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        keys = [f"{key}=" for key in guestspec.KEYS]
        pieces = [*guestspec.KINDS, *keys, ",", ":", "=", '"', "-", "+", "0", "99999999999999999999"]
        for _ in range(2000):
            text = "".join(rng.choice(pieces) if rng.random() < 0.7
                           else rng.choice(string.printable) for _ in range(rng.randrange(1, 12)))
            try:
                guestspec.expand([text], 4)
            except UsageError as error:
                self.assertEqual(len(str(error).splitlines()), 1, f"seed {seed}: {text!r}")

    def test_kernels(self) -> None:
        good = elf()
        for name, data, named in (
                ("short", good[:40], "truncated"),
                ("noheaders", good[:64], "truncated"),
                ("cut", good[:0x1800], "truncated"),
                ("bits32", elf(bits=32), "32-bit"),
                ("arm", elf(machine=183), "183"),
                ("text", b"#!/bin/sh\n" * 100, "neither an ELF file nor a bzImage"),
                ("empty", b"", "neither an ELF file nor a bzImage"),
                ("big", elf(memsz=512 << 20), "the guest has 256M")):
            with self.subTest(name=name):
                path = self.write(name, data)
                if name == "cut":
                    path.write_bytes(elf(filesz=0x1000, memsz=0x1000)[:0x1800])
                self.assertIn(named, self.refused("--guest", f"pv,kernel={path}"))

    def test_good_kernel_is_taken(self) -> None:
        path = self.write("good", elf())
        args = run.parser().parse_args(["--guest", f"pv,kernel={path}"])
        self.assertEqual(run.check_early(args)[2][0].kernel, path.resolve())


class Command(unittest.TestCase):
    def run_launcher(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(ROOT / "xylem"), *words], capture_output=True, text=True,
                              check=False, timeout=120)

    def test_unknown_command(self) -> None:
        done = self.run_launcher("frobnicate")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("frobnicate", done.stderr)

    def test_bad_guest_exits_2_in_one_line(self) -> None:
        done = self.run_launcher("run", "--guest", "windows")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1))

    def test_help(self) -> None:
        for command in ("run", "test", "iso", "bench", "gdb", "ctl", "plot"):
            with self.subTest(command=command):
                done = self.run_launcher(command, "--help")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"usage: ./xylem {command}", done.stdout)


if __name__ == "__main__":
    unittest.main()
