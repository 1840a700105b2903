# SPDX-License-Identifier: MIT
"""Instructions per scanned and per merged page inside the hypervisor, under QEMU's -icount."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from launch import ui
from launch.errors import XylemError
from launch.paths import ROOT

# One pCPU: then one instruction is one tick of the TSC and one nanosecond of scan_ns.
RUN = ["--pcpus", "1", "--icount", "--scan-rate", "1000000000", "--set", "share.cpu=100", "--set",
       "share.order=sequential", "--mem-period", "100"]
PAGES = 4000  # of each guest


def series(same: int, zero: int, timeout: int) -> list[dict[str, Any]]:
    """The memory records of four guests that fill their pages and then rest."""
    guest = (f"mini-pattern:4,mem=32M,cmdline=pages={PAGES} same={same} zero={zero} rewrite=0 "
             "rounds=2 pause_ms=800 alias=0")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run.json"
        done = subprocess.run([str(ROOT / "xylem"), "run", *RUN, "--timeout", str(timeout),
                               "--guest", guest, "--json", str(out)], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise XylemError("the guests of bench share did not end well:\n" + done.stdout[-2000:])
        return [sample["total"] for sample in json.loads(out.read_text())["mem_series"]]


def look_cost(samples: list[dict[str, Any]]) -> float:
    """Instructions for a look at a name that leads to nothing: from the intervals with only such."""
    looks = spent = 0
    for before, after in zip(samples, samples[1:]):
        if after["scanned"] == before["scanned"]:
            looks += after["looked"] - before["looked"]
            spent += after["scan_ns"] - before["scan_ns"]
    if not looks:
        raise XylemError("bench share: the scanner never came to rest")
    return spent / looks


def measure(timeout: int) -> dict[str, float]:
    """Two runs: in one all pages differ, in the other most are equal."""
    ui.say("bench share: instructions inside the hypervisor, all pages different")
    apart = series(0, 0, timeout)
    ui.say("bench share: instructions inside the hypervisor, most pages equal")
    alike = series(70, 5, timeout)
    out = {}
    cost = {}
    for name, samples in (("apart", apart), ("alike", alike)):
        end, look = samples[-1], look_cost(samples)
        cost[name] = end["scan_ns"] - (end["looked"] - end["scanned"]) * look
        out[f"{name}_look"] = look
    merged = alike[-1]["merged"] + alike[-1]["merged_zero"]
    if not merged or apart[-1]["scanned"] < PAGES:
        raise XylemError("bench share: the scanner has merged nothing")
    scan = cost["apart"] / apart[-1]["scanned"]
    rest = alike[-1]["scanned"] - merged
    return {"instructions_per_look": out["alike_look"], "instructions_per_scanned_page": scan,
            "instructions_per_merged_page": (cost["alike"] - rest * scan) / merged,
            "scanned": alike[-1]["scanned"], "merged": merged}
