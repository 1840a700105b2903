# SPDX-License-Identifier: MIT
"""
Boot tests: a table of ./xylem run invocations and what must come of each.

To add one, append a Case. 'states' gives each guest's expected end (default:
all 'off'); 'lines' are patterns that the guest's console must show, 'never'
patterns that no line of the whole log may match.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import build, locktests, memtests, ui
from launch.records import parse_log
from launch.tally import Tally

Check = Callable[[dict[str, Any], str], str]  # (JSON, log) -> '' or what is wrong


@dataclass
class Case:
    """One boot."""

    name: str
    args: list[str]
    states: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    never: list[str] = field(default_factory=list)
    status: int = 0
    timeout: int = 180
    quick: bool = False
    check: Check | None = None
    panics: bool = False  # the hypervisor is made to panic


LINUX_UP = [r"^xylem-userspace ", r"^/sys/hypervisor/type: xen$", r"^xylem-dmesg-clean",
            r"^xylem-done "]
BROKEN = [r"\bpanic\b", r"^xylem-dmesg-dirty", r"FAIL"]


def all_online(pcpus: int) -> Check:
    """Every pCPU came up."""
    def check(data: dict[str, Any], _: str) -> str:
        online = data["pcpus_online"]
        return "" if online == pcpus else f"{online} of {pcpus} pCPUs came online"
    return check


def panic_shown(_: dict[str, Any], log: str) -> str:
    """The panic names its CPU, registers and functions, once."""
    wanted = [r"^panic on pCPU 3 \(.*page fault in the hypervisor at", r"^rax [0-9a-f]{16} ",
              r"^backtrace:", r"panic_test\+0x", r"run_exit_work\+0x", r"ap_main\+0x"]
    missing = [pattern for pattern in wanted if len(re.findall(pattern, log, re.M)) != 1]
    return f"the log has not once each: {missing}" if missing else ""


def memory_moved(*keys: str) -> Check:
    """Each of these host-wide numbers was above 0 at some time."""
    def check(data: dict[str, Any], _: str) -> str:
        never = [key for key in keys if not any(sample["total"].get(key)
                                                for sample in data["mem_series"])]
        return f"always 0 in the memory records: {' '.join(never)}" if never else ""
    return check


EVIL_SURVIVES = ("hypercalls", "maps", "ptwrite", "priv", "flood", "oom", "badiret", "badgdt")

CASES = [
    Case("one mini guest on one pCPU", ["--pcpus", "1", "--guest", "mini"], quick=True,
         check=all_online(1)),
    Case("mini guests of every kind",
         ["--pcpus", "4", "--guest", "mini-hello", "--guest", "mini-mem",
          "--guest", "mini-smp,vcpus=4", "--guest", "mini-timer", "--guest", "mini-evtchn,vcpus=2",
          "--guest", "mini-proc", "--guest", "mini-burn", "--guest", "mini-wake",
          "--guest", "mini-idle"], quick=True, check=all_online(4)),
    Case("guests are ended when --for elapses",
         ["--pcpus", "2", "--for", "2", "--guest", "mini-burn:3,cmdline=secs=0"],
         states={f"mini-burn{index}": "killed" for index in (1, 2, 3)}, quick=True),
    Case("one Debian guest on one pCPU", ["--pcpus", "1", "--guest", "linux"], quick=True,
         lines={"linux1": LINUX_UP}),
    Case("two Debian guests and eight mini guests",
         ["--pcpus", "4", "--guest", "linux:2,vcpus=2", "--guest", "mini:8"],
         lines={"linux1": [*LINUX_UP, "2 CPUs"], "linux2": [*LINUX_UP, "2 CPUs"]},
         check=all_online(4)),
    Case("a hundred mini guests", ["--pcpus", "4", "--guest", "mini:100"], timeout=240),
    Case("evil guests of every mode beside good ones",
         ["--pcpus", "2", "--guest", "linux,vcpus=2", "--guest", "mini-mem",
          *(word for mode in EVIL_SURVIVES
            for word in ("--guest", f"mini-evil,name={mode},cmdline=mode={mode}")),
          "--guest", "mini-evil,name=masked,cmdline=mode=masked secs=3",
          "--guest", "mini-evil,name=gdtrace,vcpus=4,cmdline=mode=gdtrace",
          "--guest", "mini-evil,name=triple,cmdline=mode=triple"],
         states={"triple": "killed"}, status=1,
         lines={"linux1": LINUX_UP, "mini-mem1": [r"^mini: PASS role=mem"],
                **{mode: [rf"^mini: SURVIVED mode={mode}"] for mode in (*EVIL_SURVIVES, "gdtrace")}},
         timeout=300),
    Case("guests that end on all vCPUs at once, by a return that cannot even be reported",
         ["--pcpus", "4", "--guest", "mini-evil:60,vcpus=4,cmdline=mode=triple how=iret",
          "--guest", "mini-hello"],
         states={f"mini-evil{index}": "killed" for index in range(1, 61)}, status=1),
    Case("a panic stops every pCPU and shows where",
         ["--pcpus", "4", "--hv", "panic=test", "--guest", "mini-burn,cmdline=secs=0"],
         states={"mini-burn1": ".*"}, status=3, panics=True, check=panic_shown, quick=True),
    Case("more vCPUs than the legacy limit, moving between pCPUs",
         ["--pcpus", "8", "--guest", "mini-smp:2,vcpus=36", "--guest", "mini-burn:2"],
         timeout=240),
    Case("FIFO events of 72 vCPUs, whose ports need more than one page of event words",
         ["--pcpus", "8", "--guest",
          "mini-evtchn,vcpus=72,mem=16M,cmdline=evtchn=fifo ports=2500"], quick=True),
    Case("verifying guests that share and unshare",
         ["--pcpus", "4", "--scan-rate", "1000000", "--mem-period", "500",
          "--guest", "mini-pattern:2,vcpus=2,cmdline=pages=1000 secs=15 pause_ms=100"],
         quick=True, check=memory_moved("scanned", "shared", "saved", "broken")),
    Case("guests that hold memory, touch it and cache in it",
         ["--pcpus", "4", "--guest", "mini-touch", "--guest", "mini-cache", "--guest",
          "mini-balloon,vcpus=2", "--guest", "mini-idle,cmdline=touch=4 secs=3"], quick=True),
    Case("stress-ng beside a mini guest",
         ["--pcpus", "4", "--guest", "linux,vcpus=4,mem=512M,cmdline=xylem.task=stress=10",
          "--guest", "mini:2"],
         lines={"linux1": [*LINUX_UP, "^xylem-stress-ok$"]}, timeout=400),
    Case("from a CD image by GRUB", ["--iso", "--pcpus", "2", "--guest", "linux",
                                     "--guest", "mini-smp,vcpus=2"],
         lines={"linux1": LINUX_UP}, check=all_online(2)),
    Case("64 pCPUs and a Debian guest with 8 vCPUs",
         ["--pcpus", "64", "--guest", "linux,vcpus=8"],
         lines={"linux1": [*LINUX_UP, "8 CPUs"]}, check=all_online(64), timeout=400),
    Case("255 pCPUs and a mini guest", ["--pcpus", "255", "--guest", "mini"],
         check=all_online(255), timeout=300),
]


def judge(case: Case, status: int, data: dict[str, Any] | None, log: str) -> str:
    """'' when a boot went as its case says, else what did not."""
    wrong = []
    if status != case.status:
        wrong.append(f"exit status {status}, expected {case.status}")
    if data is None:
        return "\n".join([*wrong, "no JSON was written"])
    consoles: dict[str, list[str]] = {}
    for raw in log.splitlines():
        line = parse_log(raw)
        if line:
            consoles.setdefault(line.who, []).append(line.text)
        text = line.text if line else raw
        wrong += [f"the log has: {raw}" for pattern in (*([] if case.panics else BROKEN), *case.never)
                  if re.search(pattern, text)][:5]
    for guest in data["guests"]:
        expected = case.states.get(guest["name"], "off")
        if not re.fullmatch(expected, guest["state"]):
            wrong.append(f"{guest['name']}: {guest['state']} ({guest['reason']}), "
                         f"expected {expected}")
    for name, patterns in case.lines.items():
        console = consoles.get(name, [])
        wrong += [f"{name}: its console has no line like '{pattern}'" for pattern in patterns
                  if not any(re.search(pattern, text) for text in console)]
    if case.check:
        verdict = case.check(data, log)
        if verdict:
            wrong.append(verdict)
    return "\n".join(wrong)


def run_attached() -> str:
    """A shell in a guest, driven through --attach; returns what is wrong."""
    command = [sys.executable, "-m", "launch", "run", "--pcpus", "1", "--timeout", "180",
               "--guest", "linux,name=sh,cmdline=xylem.task=shell", "--attach", "sh"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        assert process.stdin and process.stdout
        output = b""
        typed = False
        while data := os.read(process.stdout.fileno(), 4096):
            output += data
            # Asked for what is not in the command, so that the echo does not count.
            if not typed and b"interactive shell" in output:
                process.stdin.write(b"echo answer-$((6*7))\nexit\n")
                process.stdin.flush()
                typed = True
    text = output.decode(errors="replace")
    if process.returncode == 0 and "answer-42" in text:
        return ""
    return f"{text[-3000:]}\nexit status {process.returncode}"


def run_case(case: Case) -> tuple[str, float]:
    """Run one boot; returns (what is wrong, seconds)."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="xylem-test-") as temp:
        out, log = Path(temp) / "out.json", Path(temp) / "log"
        command = [sys.executable, "-m", "launch", "run", *case.args, "--json", str(out),
                   "--log", str(log), "--timeout", str(case.timeout)]
        status, output = ui.watch(case.name, command, timeout=case.timeout + 120)
        data = json.loads(out.read_text()) if out.exists() else None
        text = log.read_text(errors="replace") if log.exists() else ""
        wrong = judge(case, status, data, text)
        if wrong:
            wrong = "\n".join([*output.splitlines()[-40:], "", f"./xylem run {' '.join(case.args)}", wrong])
    return wrong, time.monotonic() - start


def run_all(tally: Tally, quick: bool, match: str) -> None:
    """Every case (the quick ones; those whose name has 'match')."""
    build.hypervisor()
    for case in CASES:
        if match in case.name and (case.quick or not quick):
            wrong, seconds = run_case(case)
            tally.add(f"boot: {case.name} ({seconds:.0f} s)", not wrong, wrong)
    name = "a shell on an attached console"
    if match in name and not quick:
        wrong = run_attached()
        tally.add(f"boot: {name}", not wrong, wrong)
    if match in locktests.NAME and not quick:
        wrong = locktests.run()
        tally.add(f"boot: {locktests.NAME}", not wrong, wrong)
    name = "independent work costs the same on 1, 2 and 4 pCPUs"
    if match in name and not quick:
        status, output = ui.watch(name, [sys.executable, "-m", "launch", "bench", "scale", "--small",
                                         "--check"], timeout=900)
        tally.add(f"boot: {name}", status == 0, output)
    memtests.run_all(tally, quick, match)
