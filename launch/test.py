# SPDX-License-Identifier: MIT
"""./xylem test: everything that is checked, with one count at the end."""

import argparse
import os
import re
import sys
import traceback
import unittest
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import (build, model, profile_lines, qemutests, sourcecheck, stress_litmus,
                    ui)
from launch.errors import Parser, UsageError, XylemError
from launch.paths import ROOT
from launch.tally import Tally

_TAP = re.compile(r"^(not )?ok\b[ 0-9]*-? *(.*)$")


def _count_ctest(tally: Tally, preset: str, junit: Path, again: bool) -> list[str]:
    """Each Criterion test that a ctest run reports in its TAP output is one check. With 'again',
    the programs that ended before their first test are returned instead of counted."""
    silent = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        name, ran_fine = case.get("name", "?"), case.get("status") == "run"
        output = "".join(out.text or "" for out in case.iter("system-out"))
        results = [match for match in map(_TAP.match, output.splitlines()) if match]
        failed = [match for match in results if match[1] and "# SKIP" not in match[2]]
        if again and not ran_fine and not results:
            silent.append(name)
            continue
        for match in results:
            if "# SKIP" not in match[2]:
                tally.add(f"{preset} {name}: {match[2].strip()}", not match[1], output,
                          quiet=True)
        if not ran_fine and not failed:
            tally.add(f"{preset} {name}", False, output or "it printed nothing")
        elif ran_fine and not results:
            tally.add(f"{preset} {name}", False, "it ran no test")
        elif ran_fine:
            print(f"ok      {preset} {name}: {len(results)} tests", flush=True)
    return silent


def criterion(preset: str, title: str) -> Callable[[Tally, argparse.Namespace], None]:
    """A group that builds a preset and runs its tests."""
    def group(tally: Tally, args: argparse.Namespace) -> None:
        try:
            where = build.build(preset, [], title)
        except XylemError as error:
            tally.add(f"{preset} build", False, str(error))
            return
        tally.add(f"{preset} build", True)
        junit = where / "junit.xml"
        junit.unlink(missing_ok=True)
        for report in where.glob("sanitizer.log*"):
            report.unlink()
        command = ["ctest", "--test-dir", str(where), "--output-junit", str(junit),
                   "--test-output-size-passed", "1000000",
                   "--test-output-size-failed", "1000000", "-j", str(os.cpu_count() or 1)]
        chosen = ["-R", args.match] if args.match else []
        _, text = ui.watch(f"{preset} tests", [*command, *chosen], tail=True)
        if "No tests were found" in text and args.match:
            return
        if not junit.exists():
            tally.add(f"{preset} ctest", False, text)
            return
        # Criterion's own arena is placed at random, now and then where it can't be under TSan.
        silent = _count_ctest(tally, preset, junit, again=preset == "tsan")
        if silent:
            print(f"        once more, ended before their first test: {' '.join(silent)}",
                  flush=True)
            junit.unlink()
            ui.watch(f"{preset} tests", [*command, "-R", f"^({'|'.join(silent)})$"], tail=True)
            _count_ctest(tally, preset, junit, again=False)
        for report in where.glob("sanitizer.log*"):
            print(report.read_text(errors="replace")[:4000], flush=True)
    return group


class _Result(unittest.TestResult):
    """Passes unittest's results to the tally."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._tally.add(f"launcher {test.id()}", True, quiet=True)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._tally.add(f"launcher {test.id()}", False, "".join(traceback.format_exception(*err)))

    addError = addFailure

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err:
            self.addFailure(subtest, err)


def launcher(tally: Tally, args: argparse.Namespace) -> None:
    """The launcher's own unit tests."""
    suite = unittest.TestLoader().discover(str(ROOT / "tests" / "launch"), "test_*.py")
    before = tally.passed
    suite.run(_Result(tally))
    print(f"ok      launcher: {tally.passed - before} tests", flush=True)


def boots(tally: Tally, args: argparse.Namespace) -> None:
    """Boots under QEMU."""
    qemutests.run_all(tally, args.quick, args.match)


def models(tally: Tally, args: argparse.Namespace) -> None:
    """Spin's search of the memory protocols' models, with all broken variants."""
    model.check(tally, tuple(m for m in model.MODELS if args.match in m.name))


def lines(tally: Tally, args: argparse.Namespace) -> None:
    """Commuting operations share no cache line; what the scanner costs mmu_update."""
    profile_lines.test(tally, args.match)


def litmus(tally: Tally, args: argparse.Namespace) -> None:
    """Lock-free structures in all small executions, each ordering left out in turn."""
    stress_litmus.check(tally, [], verbose=False)


GROUPS: dict[str, tuple[str, bool, Callable[[Tally, argparse.Namespace], None]]] = {
    # name: (title, also with --quick, function)
    "launcher": ("unit tests of the launcher", True, launcher),
    "format": ("clang-format", True, sourcecheck.formatting),
    "source": ("rules of the source tree", True, sourcecheck.rules),
    "host": ("Criterion tests on the host build", True,
             criterion("host", "the host tests")),
    "asan-ubsan": ("the same under AddressSanitizer and UBSan", False,
                   criterion("asan-ubsan", "the host tests (asan, ubsan)")),
    "tsan": ("the same under ThreadSanitizer", False,
             criterion("tsan", "the host tests (tsan)")),
    "tidy": ("clang-tidy", False, sourcecheck.tidy),
    "model": ("models of the memory protocols", False, models),
    "litmus": ("orderings of the lock-free structures", False, litmus),
    "boot": ("boots under QEMU", True, boots),
    "lines": ("cache lines shared by commuting operations", False, lines),
}


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem test", description="Run the tests.",
                    epilog="Groups: " + ", ".join(GROUPS) + ".")
    parser.add_argument("--quick", action="store_true",
                        help="leave out sanitizers, clang-tidy and the longer boots")
    parser.add_argument("--only", metavar="NAME", action="append",
                        help="only this group, or GROUP:PART for the tests whose name has PART")
    args = parser.parse_args(argv)
    args.match = ""
    chosen = [name for name, (_, quick, _) in GROUPS.items() if quick or not args.quick]
    if args.only:
        chosen = []
        for word in args.only:
            name, _, match = word.partition(":")
            if name not in GROUPS:
                raise UsageError(f"--only: no group '{name}' (one of: {' '.join(GROUPS)})")
            chosen.append(name)
            args.match = match or args.match
    tally = Tally()
    for name in chosen:
        title, _, function = GROUPS[name]
        tally.group(title)
        try:
            function(tally, args)
        except (XylemError, UsageError) as error:
            tally.add(name, False, str(error))
        sys.stdout.flush()
    return tally.finish()
