# SPDX-License-Identifier: MIT
"""Memory services under real guests that verify what they hold, while all of it is made to churn."""

import json
import random
import time
from pathlib import Path
from typing import Any

from launch import report, ui
from launch.errors import Parser, XylemError
from launch.lab import Instance
from launch.memory import PAGES_PER_MIB, mib
from launch.units import parse_int, parse_size

BOOT_S = {True: 40, False: 120}  # what Linux needs to start among busy guests
# Linux's wall-clock watchdogs say nothing where pCPUs wait for the host's few cores.
PATIENT = "nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
SCAN_RATE = 1000000  # pages per second: as fast as the scanners can
# What the run must have made happen for its verdict to mean anything.
MUST_HAPPEN = ("shared", "saved", "swapped", "ballooned", "broken")


class Plan:
    """The guests of a run, and what the churn may do to them."""

    def __init__(self, seconds: int, seed: int, small: bool) -> None:
        self.seed, self.seconds = seed, seconds
        self.mem: dict[str, int] = {}  # MiB
        self.args: list[str] = []
        own = seconds + BOOT_S[small]  # of those that start at once
        for index in range(1 if small else 2):
            self._add("linux", f"linux{index + 1}", 192, 2 if small else 4,
                      f"quiet {PATIENT} xylem.task=memstress={seconds}")
        for index in range(2 if small else 4):
            self._add("mini-pattern", f"pattern{index + 1}", 16 if small else 40,
                      2 if small else 4,
                      f"pages={2500 if small else 7000} secs={own} every=30 "
                      f"seed={seed + index} pause_ms={100 + index * 100}")
        phases = "/".join(f"{size}:3" for size in ((12, 2) if small else (40, 4, 24)))
        for index in range(1 if small else 2):
            self._add("mini-touch", f"touch{index + 1}", 20 if small else 56, 1,
                      f"phases={phases} repeat={own // (6 if small else 9)} "
                      f"every_ms=30000 seed={seed + index}")
        self._add("mini-mem", "mem1", 8, 2, f"seed={seed} steps={1000 * seconds}")

    def _add(self, kind: str, name: str, mem: int, vcpus: int, cmdline: str) -> None:
        self.mem[name] = mem
        self.args += ["--guest", f"{kind},name={name},mem={mem}M,vcpus={vcpus},cmdline={cmdline}"]


class Churn:
    """Random commands, by the seed."""

    def __init__(self, lab: Instance, plan: Plan) -> None:
        self._lab, self._plan = lab, plan
        self._random = random.Random(plan.seed)
        self.sent: dict[str, int] = {}
        self.refused: list[str] = []

    def _words(self) -> list[str]:
        pick = self._random
        name = pick.choice(list(self._plan.mem))
        pages = self._plan.mem[name] * PAGES_PER_MIB
        what = pick.choices(("balloon", "tax", "shares", "scan-rate"), (8, 1, 2, 1))[0]
        if what == "balloon":
            part = pick.choice(("auto", 0, 0.1, 0.25, 0.4, 0.5))
            return [what, name, part if isinstance(part, str) else str(int(part * pages))]
        if what == "tax":
            return [what, str(pick.choice((0, 25, 50, 75, 90, 100)))]
        if what == "shares":
            return [what, name, str(pick.choice((10, 100, 1000, 10000)))]
        return [what, str(pick.choice((SCAN_RATE, SCAN_RATE, 10000, 0)))]

    def step(self) -> None:
        """One command; what the instance may refuse is noted, not fatal."""
        words = self._words()
        try:
            self._lab.ctl(*words)
            self.sent[words[0]] = self.sent.get(words[0], 0) + 1
        except XylemError as error:
            self.refused.append(f"{' '.join(words)}: {error}")


def verdict(lab: Instance, plan: Plan, data: dict[str, Any], sent: dict[str, int],
            ) -> list[str]:
    """What is wrong with a run that is over."""
    wrong = []
    if data["outcome"] != "done":
        wrong.append(f"the run ended as '{data['outcome']}'")
    for guest in data["guests"]:
        if guest["state"] != "off":
            wrong.append(f"{guest['name']}: {guest['state']} ({guest['reason']})")
    for name in plan.mem:
        good = "xylem-stress-ok" if name.startswith("linux") else "mini: PASS"
        if not lab.seen(name, good):
            wrong.append(f"{name}: no line '{good}'")
        wrong += [f"{name}: {line.text}" for line in lab.lines.get(name, ())
                  if line.text.startswith(("mini: FAIL", "xylem-dmesg", "xylem-stress-failed"))
                  and not line.text.startswith("xylem-dmesg-clean")][:40]
    for key in MUST_HAPPEN:
        if not peak(data, key):
            wrong.append(f"nothing was ever {key}: the run proves nothing about it")
    if not sent.get("balloon"):
        wrong.append("no balloon target was ever set")
    return wrong


def peak(data: dict[str, Any], key: str) -> int:
    """The highest value of one of the host's numbers."""
    return max((int(sample["total"].get(key) or 0) for sample in data["mem_series"]), default=0)


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem stress mem", description=__doc__,
                    epilog="Guests that fill memory with patterns and verify them, Linux with "
                           "stress-ng's verifying memory stressors, and a guest that maps and "
                           "unmaps at random, on a host with less memory than they want; the "
                           "scanners run at full rate while balloon targets, shares and the tax "
                           "change at random. Any wrong byte fails the run.")
    parser.add_argument("--minutes", metavar="N", default="10", help="how long (10)")
    parser.add_argument("--seconds", metavar="N", help="the same in seconds")
    parser.add_argument("--pcpus", metavar="N", default="8", help="physical CPUs (8)")
    parser.add_argument("--mem", metavar="SIZE", help="host memory (460M; small: 240M)")
    parser.add_argument("--small", action="store_true", help="fewer and smaller guests")
    parser.add_argument("--seed", metavar="S", help="default: from the time of day")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--log", metavar="FILE", help="write the whole log there")
    args = parser.parse_args(argv)
    seconds = (parse_int(args.seconds, "--seconds", 5, 10**6) if args.seconds
               else 60 * parse_int(args.minutes, "--minutes", 1, 10**4))
    seed = parse_int(args.seed or str(int(time.time())), "--seed", 0, 10**15)
    plan = Plan(seconds, seed, args.small)
    mem = parse_size(args.mem, "--mem") >> 20 if args.mem else (240 if args.small else 460)
    words = ["--pcpus", str(parse_int(args.pcpus, "--pcpus", 1, 255)), "--mem", f"{mem}M",
             "--scan-rate", str(SCAN_RATE), "--set", "mem.sample_ms=1000",
             "--set", "mem.balloon_wait_ms=500", *plan.args]
    ui.say(f"stress mem: seed {seed}, {seconds} s, {len(plan.mem)} guests with "
           f"{sum(plan.mem.values())} MiB on {mem} MiB")
    with Instance("stress mem", words, seconds * 4 + 600) as lab:
        churn = Churn(lab, plan)
        lab.until(lambda: bool(lab.total), "booting", 300)
        while lab.running():
            lab.update(f"{sum(churn.sent.values())} commands")
            churn.step()
            time.sleep(0.7)
        data = lab.document()
        if args.log:
            lab.keep_log(Path(args.log))
        wrong = verdict(lab, plan, data, churn.sent)
        for text in wrong:
            print(f"stress mem: {text}")
        show(lab, data, churn)
    if args.json:
        report.write_json(Path(args.json), {
            "schema": 1, "seed": seed, "seconds": seconds, "ok": not wrong, "wrong": wrong,
            "commands": churn.sent, "refused": len(churn.refused),
            "peaks": {key: peak(data, key) for key in MUST_HAPPEN}, **{
                key: data[key] for key in ("guests", "memory", "mem_series", "wall_s")}})
    print(f"stress mem: seed {seed}: {'FAILED' if wrong else 'ok'}", flush=True)
    return 1 if wrong else 0


def show(lab: Instance, data: dict[str, Any], churn: Churn) -> None:
    """What happened, as a table."""
    print(report.render(["most at once", "", "MiB"], [
        [key, "", mib(peak(data, key))] for key in MUST_HAPPEN if key != "broken"]))
    print(f"broken shares: {peak(data, 'broken')}; commands: {json.dumps(churn.sent)}, "
          f"{len(churn.refused)} refused" + (f", the last: {churn.refused[-1]}"
                                             if churn.refused else ""))
    for name in lab.lines:
        done = [line.text for line in lab.lines[name] if line.text.startswith("mini: PASS")]
        if done:
            print(f"{name}: {done[-1]}")
