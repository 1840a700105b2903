# SPDX-License-Identifier: MIT
"""A boot under load through ./xylem profile locks, looked at while it runs and at its end."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from launch import contention, control
from launch.errors import XylemError

NAME = "contention is counted on every pCPU, and adds up"
PCPUS = 4
SECONDS = 15
LOAD = ["linux,vcpus=4,mem=256M,cmdline=xylem.task=memstress=600",
        "mini-pattern:2,vcpus=2,cmdline=pages=1000 secs=600 pause_ms=50", "mini-smp:2,vcpus=4"]
# What this load cannot do without: (site, kind).
KNOWN = [("TLB shootdown", "wait"), ("inbox", "cas"), ("unit's state", "cas"),
         ("unit's message flag", "cas"), ("hardware leaf entry", "cas"), ("frame's state", "cas"),
         ("page table, get", "cas"), ("page table, put", "cas"), ("name to be touched", "cas"),
         ("depot of free frames, get", "cas"), ("free event port", "cas")]


def judge(early: dict[str, Any], late: dict[str, Any]) -> list[str]:
    """What is wrong with a report made during a run and the one at its end."""
    wrong = contention.check(early) + contention.check(late)
    before = {(site["name"], site["function"], site["kind"]): site for site in early["sites"]}
    after = {(site["name"], site["function"], site["kind"]): site for site in late["sites"]}
    if before.keys() != after.keys():
        wrong.append("the two reports are of different sites")
    wrong += [f"{key[0]}: {count} went back from {before[key][count]} to {site[count]}"
              for key, site in after.items() for count in contention.COUNTS
              if key in before and site[count] < before[key][count]]
    totals = {(site["name"], site["kind"]): 0 for site in late["sites"]}
    for site in late["sites"]:
        totals[site["name"], site["kind"]] += site["acquisitions"]
    wrong += [f"{name} ({kind}) was never passed" for name, kind in KNOWN
              if not totals.get((name, kind))]
    for name in ("inbox", "unit's state"):
        cpus = {one["cpu"] for site in late["sites"] if site["name"] == name
                for one in site["per_pcpu"]}
        if cpus != set(range(PCPUS)):
            wrong.append(f"{name}: only on pCPUs {sorted(cpus)}")
    contended = sum(site["contended"] for site in late["sites"])
    paths = sum(call["contended"] for call in late["calls"])
    if not 0 < paths <= contended:
        wrong.append(f"{contended} contended, {paths} of them by call path")
    wrong += [f"{call['site']}: a call path begins in {call['stack'][:1]}" for call in late["calls"]
              if not call["stack"] or not call["stack"][0].isidentifier()][:5]
    return wrong


def run() -> str:
    """The boot; returns what is wrong."""
    with tempfile.TemporaryDirectory(prefix="xylem-test-") as temp:
        out, svg = Path(temp) / "out.json", Path(temp) / "out.svg"
        command = [sys.executable, "-m", "launch", "profile", "locks", "--pcpus", str(PCPUS),
                   "--for", str(SECONDS), "--timeout", "240", "--scan-rate", "100000",
                   "--json", str(out), "--svg", str(svg),
                   *(word for guest in LOAD for word in ("--guest", guest))]
        with open(Path(temp) / "log", "wb+") as log, \
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
            early = _ask(process)
            status = process.wait()
            log.seek(0)
            text = log.read().decode(errors="replace")
        if status or early is None:
            return f"{text[-3000:]}\nexit status {status}" + ("" if early else ", no early report")
        wrong = judge(early, json.loads(out.read_text()))
        if "</svg>" not in svg.read_text():
            wrong.append("the picture is not whole")
        if "TLB shootdown" not in text.rpartition("ns each")[2]:
            wrong.append("the table has no TLB shootdown")
        return "\n".join(wrong)


def _ask(process: "subprocess.Popen[bytes]") -> dict[str, Any] | None:
    """./xylem ctl locks, as soon as there is something to see."""
    while process.poll() is None:
        try:
            if process.pid in control.instances():
                reply = control.ask(process.pid, ["locks"], 30)
                found = reply.get("locks") or {"sites": []}
                if any(site["contended"] for site in found["sites"]):
                    return dict(found)
        except XylemError:
            pass  # it is only coming up, or just gone
        time.sleep(1)
    return None
