# SPDX-License-Identifier: MIT
"""Parts of the stress suite inside QEMU."""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from launch import build, initramfs, ui
from launch.errors import XylemError
from launch.lab import Instance
from launch.suite_result import Job, Result

# Linux's wall-clock watchdogs say nothing where pCPUs wait for the host's few cores.
PATIENT = "quiet nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
BOOT_S = 240  # what may come on top of the seconds asked for, on a busy host
FUZZ_PER_S = 1500  # calls of one fuzzing vCPU
MODES = ("events", "timers", "vcpus", "mmu")


class Guests:
    """The --guest words of a part, each guest with a seed of its own, and how each must end."""

    def __init__(self, job: Job, witness: bool = True) -> None:
        self._seed = job.seed
        self.words: list[str] = []
        self.ends: dict[str, str] = {}
        if witness:
            self.add("mini-mem", "witness", 2, f"steps={200 * job.seconds}")

    def add(self, kind: str, name: str, vcpus: int, cmdline: str, mem: int = 8,
            end: str = "off") -> None:
        """One more; 'end' is a pattern of the states in which it may end."""
        seed = f" seed={self._seed + len(self.ends)}" if kind.startswith("mini") else ""
        self.words += ["--guest", f'{kind},name={name},vcpus={vcpus},mem={mem}M,'
                                  f'cmdline="{cmdline}{seed}"']
        self.ends[name] = end


def count(result: Result, texts: list[str]) -> None:
    """Add what guests say on their consoles."""
    kinds = set()
    for text in texts:
        passed = re.match(r"mini: PASS role=(?:fuzz|storm)\b.*?\bops=(\d+)(?: refused=(\d+))?",
                          text)
        made = re.match(r"mini: evil hypercalls made=(\d+) refused=(\d+)", text)
        kind = re.match(r"mini: fuzz errno=(\d+)", text)
        if passed or made:
            found = passed or made
            assert found
            result.operations += int(found[1])
            result.refused += int(found[2] or 0)
        if kind:
            kinds.add(kind[1])
    result.errnos = max(result.errnos, len(kinds))


def judge(result: Result, guests: Guests, data: dict[str, Any], lines: dict[str, list[str]],
          tail: list[str]) -> None:
    """What is wrong with a run that is over."""
    if data["outcome"] == "panic":
        result.wrong.append("the hypervisor panicked")
    elif data["outcome"] not in ("done", "failed", "stopped"):
        result.wrong.append(f"the run ended as '{data['outcome']}'")
    leaked = (data.get("hypervisor") or {}).get("leaked_frames")
    if leaked:
        result.wrong.append(f"{leaked} frames were not given back")
    for guest in data["guests"]:
        name, state = guest["name"], guest["state"]
        result.ends[state] = result.ends.get(state, 0) + 1
        if not re.fullmatch(guests.ends.get(name, "off|destroyed"), state):
            result.wrong.append(f"{name}: {state} ({guest['reason']})")
    for name, texts in lines.items():
        count(result, texts)
        result.wrong += [f"{name}: {text}" for text in texts
                         if text.startswith(("mini: FAIL", "xylem-dmesg-dirty",
                                             "xylem-stress-failed"))][:10]
    if result.wrong:
        result.wrong.append("the last lines:\n" + "\n".join(tail[-40:]))


def drive(job: Job, guests: Guests, words: list[str],
          step: Callable[[Instance, Result], None] | None = None) -> Result:
    """Run the guests to their end; 'step' is called all the time with the live instance."""
    result = job.result()
    build.hypervisor()  # before the clock of the instance runs
    with tempfile.TemporaryDirectory(prefix="xylem-suite-") as temp:
        log = Path(temp) / "log"
        with Instance(f"stress {job.part}", [*words, *guests.words],
                      3 * job.seconds + BOOT_S) as lab:
            if step:
                lab.until(lambda: bool(lab.total), "booting", 300)
            while lab.running():
                lab.update()
                if step:
                    try:
                        step(lab, result)
                    except XylemError:
                        if lab.running():  # refused: its guest has just ended, or is not there
                            result.refused += 1
                else:
                    time.sleep(0.3)
            data = lab.document()
            lab.keep_log(log)
            tail = log.read_text(errors="replace").splitlines()
            judge(result, guests, data,
                  {name: [line.text for line in lines] for name, lines in lab.lines.items()}, tail)
    return result


def fuzz(job: Job) -> Result:
    """every hypercall with arguments of any kind and half-valid ones; privileged instructions"""
    guests = Guests(job)
    iters = FUZZ_PER_S * job.seconds // 4
    for index, vcpus in enumerate((1, 2, 4)):
        guests.add("mini-fuzz", f"fuzz{index}", vcpus, f"iters={iters}")
    guests.add("mini-fuzz", "fuzzfifo", 2, f"iters={iters} evtchn=fifo hcall=inline")
    for mode in ("hypercalls", "maps", "ptwrite", "priv", "badiret", "badgdt"):
        guests.add("mini-evil", mode, 1, f"mode={mode}")
    guests.add("mini-evil", "triple", 1, "mode=triple", end="killed")
    guests.add("mini-evil", "triples", 4, "mode=triple how=iret", end="killed")
    return drive(job, guests, ["--pcpus", "4"])


def storm(mode: str, vcpus: int) -> Callable[[Job], Result]:
    """A part that is one mode of the storm role."""
    def part(job: Job) -> Result:
        guests = Guests(job)
        for index in range(2):
            fifo = " evtchn=fifo" if index else ""
            guests.add("mini-storm", f"{mode}{index}", vcpus,
                       f"mode={mode} secs={job.seconds}{fifo}")
        return drive(job, guests, ["--pcpus", "4"])
    part.__doc__ = {
        "events": "event storms on all vCPUs, 2-level and FIFO: none is lost",
        "timers": "timer storms: singleshot, periodic, polls; none is early or lost",
        "vcpus": "vCPUs go down and come up in the middle of their work",
        "mmu": "mappings against a model, pins, processes and shootdowns on all vCPUs",
    }[mode]
    return part


class Commander:
    """Random commands to the instance, by the seed; each() says how often."""

    def __init__(self, job: Job) -> None:
        self.random = random.Random(job.seed)
        self.until = 0.0
        self._seconds = job.seconds

    def left(self) -> bool:
        """Whether there is time left, counted from the first call."""
        if not self.until:
            self.until = time.monotonic() + self._seconds
        return time.monotonic() < self.until


def migrate(job: Job) -> Result:
    """vCPUs moved between pCPUs, by hand and by the scheduler, in the middle of their work"""
    guests = Guests(job)
    for mode in MODES:
        guests.add("mini-storm", mode, 4, f"mode={mode} secs={job.seconds + 2}")
    guests.add("mini-wake", "wake", 1, f"period_us=500 count={job.seconds * 500}")
    chance = Commander(job)

    def step(lab: Instance, result: Result) -> None:
        name = chance.random.choice(list(guests.ends))
        low = chance.random.randrange(6)
        where = chance.random.choice(("all", str(low), f"{low}-{low + 1 + low % 2}", "0+3+5"))
        if chance.left():
            lab.ctl("pin", name, where)
            result.operations += 1
        else:
            time.sleep(0.3)
    return drive(job, guests, ["--pcpus", "8"], step)


ALIVE = 6  # domains made by the churn at once
KEEPER = "keeper"
TEMPLATES = ("t-fuzz", "t-storm", "t-pattern", "t-evil")


class Churn:
    """Domains made and ended at random; every few seconds all, so that what is held is counted."""

    def __init__(self, job: Job) -> None:
        self._chance = Commander(job)
        self.made = 0
        self.used: list[int] = []  # frames in use while nothing that was made lives
        self.over = False

    def _words(self, template: str) -> list[str]:
        pick = self._chance.random
        words = [f"seed={pick.randrange(10**6)}"]
        if template == "t-fuzz":
            words.append(f"iters={pick.randrange(100, 4000)}")
        elif template == "t-storm":
            words += [f"mode={pick.choice(MODES)}", f"secs={pick.randrange(1, 3)}"]
        elif template == "t-evil":
            words.append(f"mode={pick.choice(('priv', 'maps', 'badgdt', 'hypercalls'))}")
        else:
            words += ["secs=1", "pages=600"]
        return words

    def _running(self, lab: Instance) -> list[str]:
        return [name for name, guest in lab.guests.items()
                if guest["state"] == "running" and name != KEEPER]

    def _settle(self, lab: Instance) -> None:
        """End all, and look at what is still held."""
        end = time.monotonic() + 60
        while self._running(lab):
            for name in self._running(lab):
                with suppress(XylemError):  # it has ended by itself
                    lab.ctl("destroy", name)
            time.sleep(0.3)
            lab.update("waiting for the ends")
            if time.monotonic() > end:
                raise XylemError(f"still there: {' '.join(self._running(lab))}")
        time.sleep(2.5)  # the next whole record
        lab.update("counting")
        self.used.append(int(lab.total.get("used", 0)))

    def step(self, lab: Instance, result: Result) -> None:
        """One command."""
        pick = self._chance.random
        if not self.used:
            self._settle(lab)
        if not self._chance.left():
            if not self.over:
                self._settle(lab)
                self.over = True
                lab.ctl("destroy", KEEPER)
            return
        if self.made and self.made % 20 == 0:
            self.made += 1
            self._settle(lab)
            return
        running = self._running(lab)
        if running and (len(running) >= ALIVE or pick.random() < 0.4):
            lab.ctl("destroy", pick.choice(running))
            result.operations += 1
            return
        template = pick.choice(TEMPLATES)
        self.made += 1
        lab.ctl("create", f"c{self.made}", template, *self._words(template))
        result.operations += 1


def churn(job: Job) -> Result:
    """domains created and destroyed at run time, in the middle of fuzzing and storms"""
    guests = Guests(job, witness=False)  # when all have gone, only the keeper's frames are left
    guests.ends[KEEPER] = "destroyed"
    guests.words += ["--guest", f"mini-idle,name={KEEPER},cmdline=secs=1000000"]
    # As they start with no arguments that say how long; each create adds its own.
    for name, kind, vcpus in (("t-fuzz", "mini-fuzz", 2), ("t-storm", "mini-storm", 3),
                              ("t-pattern", "mini-pattern", 2), ("t-evil", "mini-evil", 1)):
        guests.words += ["--guest", f"{kind},name={name},vcpus={vcpus}"]
        guests.ends[name] = "off|destroyed"
    work = Churn(job)
    result = drive(job, guests, ["--pcpus", "4", "--mem-period", "500"], work.step)
    if len(work.used) > 1:
        grown = work.used[-1] - work.used[0]
        result.note = (f"frames in use when all were gone: {work.used[0]} at first, {grown:+} "
                       f"after {work.made} domains")
        # Kept for the next domain with the same id, and in caches of each pCPU.
        if grown > 64 * ALIVE:
            result.wrong.append(f"{grown} more frames are in use than at first: {work.used}")
    else:
        result.wrong.append("the frames in use were never counted")
    return result


def memory(job: Job) -> Result:
    """balloon targets, sharing, shares and swap under guests that verify their memory, Linux too"""
    result = job.result()
    with tempfile.TemporaryDirectory(prefix="xylem-suite-") as temp:
        out = Path(temp) / "out.json"
        status, text = ui.watch(
            "stress mem", [sys.executable, "-m", "launch", "stress", "mem", "--small", "--seconds",
                           str(job.seconds), "--seed", str(job.seed), "--json", str(out)],
            tail=True, timeout=10 * job.seconds + 900)
        if not out.exists():
            result.wrong.append(text[-3000:])
            return result
        data = json.loads(out.read_text())
    result.operations = sum(data["commands"].values()) + sum(data["peaks"].values())
    result.refused = data["refused"]
    for guest in data["guests"]:
        result.ends[guest["state"]] = result.ends.get(guest["state"], 0) + 1
    result.note = " ".join(f"{key} {value}" for key, value in data["peaks"].items())
    result.wrong += data["wrong"]
    if status and not result.wrong:
        result.wrong.append(text[-2000:])
    return result


def mix(job: Job) -> Result:
    """all of it at once, beside two Linux guests under stress-ng"""
    guests = Guests(job)
    initramfs.build(stress=True)  # it takes a while the first time
    for index in range(2):
        guests.add("linux", f"linux{index}", 2, f"{PATIENT} xylem.task=stress={job.seconds}",
                   mem=320)
    for mode in MODES:
        guests.add("mini-storm", mode, 3, f"mode={mode} secs={job.seconds}")
    guests.add("mini-fuzz", "fuzz", 2, f"iters={FUZZ_PER_S * job.seconds // 4}")
    guests.add("mini-pattern", "pattern", 2, f"pages=1500 secs={job.seconds} pause_ms=100", mem=16)
    chance = Commander(job)
    made = 0

    def step(lab: Instance, result: Result) -> None:
        nonlocal made
        pick = chance.random
        if not chance.left():
            time.sleep(0.3)
            return
        name = pick.choice(list(guests.ends))
        what = pick.randrange(4)
        result.operations += 1
        if what == 0:
            made += 1
            lab.ctl("create", f"c{made}", pick.choice(("fuzz", *MODES)), f"seed={made}")
        elif what == 1 and made:
            lab.ctl("destroy", f"c{pick.randrange(made) + 1}")
        elif what == 2:
            lab.ctl("balloon", "pattern", pick.choice((0, 500, 1000)))
        else:
            lab.ctl("pin", name, pick.choice(("all", "0", "1-2", "3")))
    return drive(job, guests, ["--pcpus", "4", "--scan-rate", "200000"], step)


# name: (function, seconds that it needs at least)
PARTS: dict[str, tuple[Callable[[Job], Result], int]] = {
    "hypercalls": (fuzz, 4), **{mode: (storm(mode, 4), 3) for mode in MODES},
    "migrate": (migrate, 4), "churn": (churn, 10), "memory": (memory, 30), "mix": (mix, 15),
}
