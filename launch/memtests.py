# SPDX-License-Identifier: MIT
"""Boot tests of the memory services that need a hand on the running instance, or are commands."""

import os
import sys
import time

from launch import ui
from launch.errors import XylemError
from launch.lab import Instance
from launch.tally import Tally

# name, words after ./xylem, seconds it may take, how often it may be tried: what is measured
# against time, on hosts that do other things as well, may miss its limit now and then
COMMANDS = [
    ("memory churn under verifying guests", ["stress", "mem", "--small", "--seconds", "40"], 600,
     1),
    ("many guests on an overcommitted host, all answering",
     ["stress", "many", "--small", "--pcpus", "2"], 600, 1),
    ("stress suite, small",
     ["stress", "--seconds", "1", "--seed", "1", "--only",
      "hypercalls,events,timers,vcpus,mmu,migrate,churn,mix"], 600, 1),
    ("isolation, small", ["bench", "isolation", "--seconds", "2"], 600, 1),
    ("hypervisor memory of an idle mini domain, throughput of busy ones",
     ["bench", "density", "--small", "--seconds", "1"], 600, 1),
    *((f"ESX figure {figure}, small",
       ["bench", "esx", "--small", "--guest", "pattern", "--figure", str(figure)], 600, tries)
      for figure, tries in ((4, 1), (2, 3), (6, 3), (7, 3))),
    ("no operation costs more than Xen's",
     ["bench", "compare", "--only", "micro", "--samples", "60", "--runs", "2", "--most", "100"],
     300, 1),
]

# Sharing on memory that this machine's MMU maps: what is merged, and every byte. Needs root.
SHARING = [
    ("sharing on the host: runs", ["--writes", "0"]),
    ("sharing on the host: single pages", ["--writes", "0", "--run", "1", "--no-scatter"]),
    ("sharing on the host: beside a writer", ["--writes", "2000"]),
]


def ballooned() -> str:
    """A verifying guest's balloon goes up and down by hand; returns what is wrong."""
    words = ["--pcpus", "2", "--mem-period", "200", "--scan-rate", "200000", "--guest",
             "mini-pattern,name=g,mem=24M,vcpus=2,cmdline=pages=1500 secs=25 pause_ms=20"]
    pages = 3000
    try:
        with Instance("balloon", words, 120) as lab:
            lab.until(lambda: lab.seen("g", "mini: pattern ready"), "booting", 60)
            for want in (pages, pages // 3, pages, 0):
                lab.ctl("balloon", "g", want)
                lab.until(lambda: lab.pages("g", "ballooned") == want,
                          f"waiting for {want} pages in the balloon", 20)
            lab.ctl("balloon", "g", "auto")
            lab.finish("verifying")
            if not lab.seen("g", "mini: PASS"):
                return "the guest did not pass"
    except XylemError as error:
        return str(error)
    return ""


def shared_on_host(tally: Tally, match: str) -> None:
    """./xylem bench share without KSM; nothing is measured against time."""
    for name, words in SHARING:
        if match in name and os.geteuid() == 0:
            start = time.monotonic()
            status, output = ui.watch(
                name, [sys.executable, "-m", "launch", "bench", "share", "--only", "xylem", "--mib",
                       "32", *words], timeout=600)
            tally.add(f"boot: {name} ({time.monotonic() - start:.0f} s)", status == 0, output)


def run_all(tally: Tally, quick: bool, match: str) -> None:
    """Those whose name has 'match'."""
    shared_on_host(tally, match)
    name = "a balloon goes up and down"
    if match in name:
        start = time.monotonic()
        wrong = ballooned()
        tally.add(f"boot: {name} ({time.monotonic() - start:.0f} s)", not wrong, wrong)
    for name, words, seconds, tries in COMMANDS:
        if match in name and not quick:
            start = time.monotonic()
            for left in reversed(range(tries)):
                status, output = ui.watch(name, [sys.executable, "-m", "launch", *words],
                                          timeout=seconds)
                if status == 0 or not left:
                    break
                print(f"        {name}: once more after\n{output[-2000:]}", flush=True)
            tally.add(f"boot: {name} ({time.monotonic() - start:.0f} s)", status == 0, output)
