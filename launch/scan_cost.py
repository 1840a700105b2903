# SPDX-License-Identifier: MIT
"""What the sharing scanner at full rate costs a guest's mmu_update, in instructions and lines."""

from typing import Any

from launch import build, guestspec, minis, profiler
from launch.errors import XylemError
from launch.machine import Options
from launch.units import MIB

LIMIT = 1.10
PCPUS = 4
COUNT = 2000


def measure(timeout: float) -> dict[str, Any]:
    """
    The same mmu_updates on one pCPU without and with the scanners of three others at work on the
    domain's other pages. instructions: in hypervisor code per update, interrupts (flushes asked for
    by the scanners) included; moves: lines taken from other pCPUs per update.
    """
    guest, _ = guestspec.parse_guest(f"mini-scancost,name=cost,mem=64M,pin=1,cmdline=count={COUNT}",
                                     PCPUS)
    where = build.hypervisor()
    with profiler.scratch() as temp:
        out = temp / "profile"
        options = Options(PCPUS, 384 * MIB, icount=True,
                          qemu_args=profiler.plugin(where, out, lines=True))
        ran = minis.run(where, [guest], options, timeout, {
            "control": "cost", "share.rate": "0", "share.cpu": "100", "mem.record_ms": "1"})
        if not any("PASS role=scancost" in text for text in ran.all()):
            raise XylemError("\n".join(["the guest did not end well", *ran.all()[-8:]]))
        found = {record["op"]: record for record in profiler.records(out)
                 if record["rec"] == "window"}
    log = ran.results.memory
    scanned = int(log.last.total.get("scanned", 0)) if log.last else 0
    sides = {}
    for name, op in (("alone", 0), ("beside_scanner", 1)):
        window = found[op]
        sides[name] = {"instructions": (window["hv"] + window["irq"]) / COUNT,
                       "of_interrupts": window["irq"] / COUNT,
                       "moves": window["transfers"] / COUNT,
                       "moves_in_interrupts": window["irq_transfers"] / COUNT}
    ratio = sides["beside_scanner"]["instructions"] / sides["alone"]["instructions"]
    return {"schema": 1, "updates": COUNT, "scanned": scanned, **sides, "ratio": ratio,
            "limit": LIMIT, "ok": ratio <= LIMIT and scanned > 0}
