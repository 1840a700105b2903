# SPDX-License-Identifier: MIT
"""bench scale under QEMU: instructions and line transfers of independent work on so many pCPUs."""

import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import build, guestspec, minis, profiler
from launch.errors import XylemError
from launch.machine import Options

GUEST_MEM = 12  # MiB: of a guest with one vCPU
VCPU_MEM = 3  # and for each further one
FLAT = 0.05  # how far apart instructions per operation may be
CONTROL = "event send, one port"  # not independent
# A mapping of a sampled page is entered at its next access only: mmu_update costs less the more of
# the domain's pages, of few, are under sample.
SETTINGS = {"share.rate": "0", "mem.sample_pages": "1"}


@dataclass
class Op:
    """An operation as the guests announced it."""

    number: int
    runs: int
    per: int
    name: str


def guest_words(layout: str, pcpus: int) -> list[str]:
    """--guest values: so many domains of one vCPU, or one of so many."""
    # All vCPUs together make the time go by: an instruction anywhere is one nanosecond.
    words = f"evtchn=fifo from_ms={400 + 150 * pcpus} slot_us={5000 * pcpus}"
    if layout == "vcpus":
        return [f"mini-scale,name=scale,vcpus={pcpus},mem={GUEST_MEM + VCPU_MEM * pcpus}M,"
                f"pin=0-{pcpus - 1},cmdline={words} record=1"]
    return [f"mini-scale,name=scale{i},mem={GUEST_MEM}M,pin={i},"
            f"cmdline={words}{' record=1' if i == 0 else ''}" for i in range(pcpus)]


def boot(specs: list[str], pcpus: int, timeout: float, lines: bool
         ) -> tuple[list[dict[str, Any]], list[str]]:
    """Run guests to their end under the profiler: its records, and the consoles' lines."""
    guests = [guestspec.parse_guest(spec, pcpus)[0] for spec in specs]
    where = build.hypervisor()
    with tempfile.TemporaryDirectory(prefix="xylem-") as temp:
        out = Path(temp) / "profile"
        options = Options(pcpus, 0, icount=True,
                          qemu_args=profiler.plugin(where, out, lines=lines))
        ran = minis.run(where, guests, options, timeout, SETTINGS)
        return list(profiler.records(out)), ran.all()


def announced(consoles: list[str]) -> list[Op]:
    """The operations, from the guest that records."""
    return [Op(int(match[1]), int(match[2]), int(match[3]), match[4]) for text in consoles
            if (match := re.match(r"scale: op (\d+) (\d+) (\d+) (.+)$", text))]


def gather(records: list[dict[str, Any]], ops: list[Op], layout: str, pcpus: int
           ) -> list[dict[str, Any]]:
    """Per operation: each pCPU's window, its waiting and its interrupts taken out."""
    rows = []
    for op in ops:
        windows = [record for record in records if record["rec"] == "window"
                   and record["dump"] == op.number and record["op"] == op.number]
        if sorted(window["cpu"] for window in windows) != list(range(pcpus)):
            raise XylemError(f"{op.name}: windows on pCPUs "
                             f"{sorted(window['cpu'] for window in windows)}, not on {pcpus}")
        count = op.runs * op.per
        each = [(window["hv"] - window["spin"]) / count for window in windows]
        rows.append({
            "op": op.name, "layout": layout, "pcpus": pcpus, "control": op.name == CONTROL,
            "instructions": statistics.mean(each), "least": min(each), "most": max(each),
            "spin": sum(window["spin"] for window in windows) / count / pcpus,
            "interrupts": sum(window["irq"] for window in windows) / count / pcpus,
            "transfers": sum(window["transfers"] for window in windows) / count / pcpus})
    return rows


def work(layout: str, pcpus: int, timeout: float) -> list[dict[str, Any]]:
    """One boot."""
    records, consoles = boot(guest_words(layout, pcpus), pcpus, timeout, True)
    ops = announced(consoles)
    if not ops:
        raise XylemError("the guest announced no operation")
    return gather(records, ops, layout, pcpus)


def bring_up(pcpus: int, timeout: float) -> dict[str, Any]:
    """One boot without a guest: what each pCPU executed until the end, waiting apart."""
    records, _ = boot([], pcpus, timeout, False)
    cpus = {record["cpu"]: record for record in records if record["rec"] == "cpu"}
    if sorted(cpus) != list(range(pcpus)):
        raise XylemError(f"{len(cpus)} of {pcpus} pCPUs ran")
    # What an AP runs below the hypervisor's addresses is its way to 64-bit mode.
    aps = [cpus[i]["hv"] + cpus[i]["guest"] - cpus[i]["spin"] for i in range(1, pcpus)]
    return {"pcpus": pcpus, "bsp": cpus[0]["hv"] - cpus[0]["spin"], "bsp_spin": cpus[0]["spin"],
            "ap": statistics.median(aps) if aps else None, "ap_least": min(aps, default=None),
            "ap_most": max(aps, default=None)}
