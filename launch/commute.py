# SPDX-License-Identifier: MIT
"""Pairs of operations that commute: the lines that both sides use and one writes."""

import re
from dataclasses import dataclass, field
from typing import Any

from launch import build, guestspec, minis, profiler
from launch.errors import XylemError
from launch.hvnames import Names
from launch.machine import Options
from launch.units import MIB

MEMORY = 384 * MIB
PCPUS = 6
RUNS = 40  # COMMUTE_RUNS - COMMUTE_WARM of guest/roles/commute.h
RARE = RUNS // 16  # accesses of one side at most, where a line is not part of every operation
FIRST_SIDE, SECOND_SIDE = 2, 3  # the pCPUs they run on


@dataclass
class Line:
    """A line that one side wrote and the other used."""

    what: str
    forced: bool    # the guest's own layout makes it one
    interrupt: bool  # only interrupt handling, which no operation asked for, makes it shared
    accesses: list[dict[str, Any]]

    @property
    def rare(self) -> bool:
        """One side came here only now and then: once per batch, whenever that falls into the window."""
        return any(side["reads"] + side["writes"] <= RARE for side in self.accesses)

    def json(self) -> dict[str, Any]:
        """As in the document."""
        return {"fields": self.what, "rare": self.rare, "sides": self.accesses}


@dataclass
class Pair:
    """Two operations, run at the same time."""

    domains: int
    a: str
    b: str
    lines: list[Line] = field(default_factory=list)
    transfers: float = 0.0
    scanner: bool = False

    @property
    def shared(self) -> list[Line]:
        """Those that the hypervisor has to answer for."""
        return [line for line in self.lines if not line.forced and not line.interrupt]

    @property
    def steady(self) -> int:
        """How many of these it is not only once per batch."""
        return sum(not line.rare for line in self.shared)

    @property
    def forced(self) -> list[Line]:
        """Those that the ABI's layout forces."""
        return [line for line in self.lines if line.forced]

    @property
    def interrupts(self) -> list[Line]:
        """Those of interrupts."""
        return [line for line in self.lines if line.interrupt and not line.forced]

    @property
    def key(self) -> str:
        """How people call it."""
        return f"{self.domains}{'s' if self.scanner else ''}: {self.a} / {self.b}"

    def json(self) -> dict[str, Any]:
        """One element of pairs[]."""
        return {"domains": self.domains, "scanner": self.scanner, "a": self.a, "b": self.b,
                "shared_lines": len(self.shared), "forced_lines": len(self.forced),
                "interrupt_lines": len(self.interrupts),
                "transfers_per_op": round(self.transfers, 3),
                "shared": [line.json() for line in self.shared],
                "forced": [line.json() for line in self.forced],
                "interrupts": [line.json() for line in self.interrupts]}


def masks(side: dict[str, Any]) -> tuple[int, int]:
    """Bytes that a side read, wrote."""
    return int(side["rmask"], 16), int(side["wmask"], 16)


def shared_by(sides: list[dict[str, Any]], interrupts: bool) -> bool:
    """Whether one side wrote the line and another used it, interrupts counted or not."""
    def written(side: dict[str, Any]) -> bool:
        return bool(side["w"] or (interrupts and side["irq_w"]))

    def used(side: dict[str, Any]) -> bool:
        return written(side) or bool(side["r"] or (interrupts and side["irq_r"]))
    return any(one is not other and written(one) and used(other)
               for one in sides for other in sides)


def make_line(record: dict[str, Any], names: Names) -> Line:
    """A line as the profiler recorded it."""
    sides = record["sides"]
    both = 0
    for side in sides:
        reads, writes = masks(side)
        both |= reads | writes
    place = names.line(record, both)
    accesses = []
    for side in sides:
        reads, writes = masks(side)
        accesses.append({
            "cpu": side["cpu"], "reads": side["r"], "writes": side["w"],
            "interrupt_reads": side["irq_r"], "interrupt_writes": side["irq_w"],
            "read": names.line(record, reads).what if reads else "",
            "written": names.line(record, writes).what if writes else "",
            "read_by": names.code(int(side["rpc"], 16)) if side["r"] else "",
            "written_by": names.code(int(side["wpc"], 16)) if side["w"] else ""})
    return Line(place.what, place.forced, not shared_by(sides, False), accesses)


def gather(records: list[dict[str, Any]], names: Names, ops: dict[int, str], domains: int,
           scanner: bool) -> list[Pair]:
    """Pairs from the profiler's records: the windows of a pair, then its lines."""
    pairs: list[Pair] = []
    windows: list[dict[str, Any]] = []
    for record in records:
        if record.get("dump", -1) < 0:
            continue
        if record["rec"] == "window":
            if len(windows) == 2:
                windows = []
            windows.append(record)
            if len(windows) < 2:
                continue
            windows.sort(key=lambda one: int(one["cpu"]))
            if [one["cpu"] for one in windows] != [FIRST_SIDE, SECOND_SIDE]:
                raise XylemError(f"pair {len(pairs)} ran on pCPUs "
                                 f"{windows[0]['cpu']} and {windows[1]['cpu']}")
            a, b = (ops[one["op"]] for one in windows)
            pairs.append(Pair(domains, a, b, scanner=scanner, transfers=sum(
                one["transfers"] for one in windows) / (2 * RUNS)))
        elif record["rec"] == "line":
            pairs[-1].lines.append(make_line(record, names))
    return pairs


def run(domains: int, only: str, scanner: bool, timeout: float) -> list[Pair]:
    """Boot, run all pairs with 'only' in them (empty: all there are); one or two domains."""
    words = "evtchn=fifo" + (f" only={only}" if only else "")
    if domains == 1:
        specs = [f"mini-commute,vcpus=4,mem={48 if scanner else 128}M,pin=2-5,cmdline={words}"]
    else:
        specs = [f"mini-commute,name=side{side},vcpus=2,mem=96M,pin={2 + side}+{4 + side},"
                 f"cmdline={words} sides=two side={side}" for side in (0, 1)]
    guests = [guestspec.parse_guest(spec, PCPUS)[0] for spec in specs]
    for index, guest in enumerate(guests):
        guest.name = guest.name or f"commute{index}"
    where = build.hypervisor()
    settings = {"share.rate": "max", "share.cpu": "100"} if scanner else {"share.rate": "0"}
    with profiler.scratch() as temp:
        out, memory = temp / "profile", temp / "memory"
        options = Options(PCPUS, MEMORY, icount=True, qemu_args=[
            *profiler.memory_file(memory, MEMORY),
            *profiler.plugin(where, out, lines=True, memory=memory)])
        consoles = minis.run(where, guests, options, timeout, settings).all()
        names = Names(where / "xylem64.elf", memory)
        names.look()
        ops = {int(match[1]): match[2] for text in consoles
               if (match := re.match(r"commute: op (\d+) (\S+)$", text))}
        told = [int(match[1]) for text in consoles
                if (match := re.search(r"PASS role=commute pairs=(\d+)", text))]
        pairs = gather(list(profiler.records(out)), names, ops, domains, scanner)
        if not told or len(pairs) != told[0]:
            raise XylemError(f"{len(pairs)} pairs were recorded, the guests ran {told}")
        return pairs
