# SPDX-License-Identifier: MIT
"""What the hypervisor writes: the human log (COM1) and JSON records (COM2)."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from launch.contention import ContentionLog
from launch.memory import MemoryLog

_LINE = re.compile(r"\[ *([0-9]+\.[0-9]+)\] ([^|]{1,40})\| ?(.*)")


@dataclass
class LogLine:
    """One line of the log; who is 'xylem' for the hypervisor itself."""

    seconds: float
    who: str
    text: str


def parse_log(line: str) -> LogLine | None:
    """A log line, None when it is something else (a boot loader's, say)."""
    match = _LINE.fullmatch(line)
    return LogLine(float(match[1]), match[2].strip(), match[3]) if match else None


def parse_record(line: str) -> dict[str, Any] | None:
    """A JSON record, None when the line is not one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "ev" in record else None


@dataclass
class GuestResult:
    """What is known of one guest."""

    name: str
    kind: str
    vcpus: int
    mem_mib: float
    state: str = "not started"
    reason: str = ""
    start_s: float | None = None
    end_s: float | None = None
    up_s: float | None = None
    cpu_s: float | None = None
    events: int | None = None
    hypercalls: int | None = None
    made: bool = False  # by ./xylem ctl create
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def userspace_s(self) -> float | None:
        """From the guest's start to its marker of userspace."""
        # The two come over different ports, in either order.
        return None if self.up_s is None else max(0.0, self.up_s - (self.start_s or 0.0))

    def log(self, line: LogLine) -> None:
        """Take one console line; the marker of userspace ends the boot."""
        if self.up_s is None and line.text.startswith(("xylem-userspace", "mini:")):
            self.up_s = line.seconds

    def record(self, record: dict[str, Any]) -> None:
        """Take one record about this guest."""
        if record["ev"] == "start":
            self.state = "running"
            self.start_s = record.get("t_ns", 0) / 1e9
        if "start_ns" in record:
            self.start_s = record["start_ns"] / 1e9
        if record["ev"] == "end":
            self.state = str(record.get("state", "failed"))
            self.reason = str(record.get("reason", ""))
            if "end_ns" in record:
                self.end_s = record["end_ns"] / 1e9
        if "cpu_ns" in record:
            self.cpu_s = record["cpu_ns"] / 1e9
        for key in ("events", "hypercalls"):
            if key in record:
                setattr(self, key, int(record[key]))
        known = ("ev", "guest", "domid", "state", "reason", "vcpus", "mem_kib", "start_ns",
                 "end_ns", "cpu_ns", "events", "hypercalls", "t_ns")
        self.extra.update({key: value for key, value in record.items() if key not in known})


@dataclass
class Results:
    """What is known of one run."""

    guests: dict[str, GuestResult]
    pcpus_online: int | None = None
    boot_s: float | None = None
    halt_status: int | None = None
    panic: bool = False
    totals: dict[str, Any] = field(default_factory=dict)
    memory: MemoryLog = field(default_factory=MemoryLog)
    locks: ContentionLog = field(default_factory=ContentionLog)

    def take_record(self, text: str) -> dict[str, Any] | None:
        """Take one line of COM2."""
        record = parse_record(text)
        if record is None:
            return None
        if record["ev"] == "boot":
            self.pcpus_online = record.get("pcpus")
            self.boot_s = record.get("t_ns", 0) / 1e9
        elif record["ev"] == "halt":
            self.halt_status = record.get("status")
            self.totals = {key: value for key, value in record.items()
                           if key not in ("ev", "status", "t_ns")}
        elif record["ev"] == "panic":
            self.panic = True
        elif record["ev"] in ("mem", "memory"):
            self.memory.take(record)
        elif record["ev"] == "locks":
            self.locks.take(record)
        elif record["ev"] == "start" and isinstance(record.get("guest"), str) \
                and (record["guest"] not in self.guests or self.guests[record["guest"]].made):
            self._made(record)
        elif record.get("guest") in self.guests:
            self.guests[record["guest"]].record(record)
        return record

    def _made(self, record: dict[str, Any]) -> None:
        """A guest that was not there at the start; it replaces one of the same name."""
        guest = GuestResult(record["guest"], str(record.get("kind", "?")),
                            int(record.get("vcpus", 0)), int(record.get("mem_kib", 0)) / 1024,
                            made=True)
        guest.record(record)
        self.guests[guest.name] = guest

    def take_log(self, text: str) -> LogLine | None:
        """Take one line of COM1."""
        line = parse_log(text)
        if line and line.who in self.guests:
            self.guests[line.who].log(line)
        return line

    def running(self) -> list[GuestResult]:
        """Guests that started and have not ended."""
        return [guest for guest in self.guests.values() if guest.state == "running"]
