# SPDX-License-Identifier: MIT
"""Mini guests booted and run to their end, for what they print."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from launch import build, plan
from launch.errors import XylemError
from launch.guestspec import Guest
from launch.machine import Options, multiboot
from launch.records import LogLine, Results
from launch.session import Limits, Session


@dataclass
class Ran:
    """A boot that ended well: the consoles' lines by who wrote them, and the records."""

    lines: dict[str, list[str]]
    results: Results
    mem: int  # bytes of the machine

    def all(self) -> list[str]:
        """Everybody's lines."""
        return [text for texts in self.lines.values() for text in texts]


def run(where: Path, guests: list[Guest], options: Options, timeout: float,
        settings: dict[str, str] | None = None,
        watch: Callable[[dict[str, list[str]]], None] | None = None) -> Ran:
    """
    Boot the build in 'where'; the guests must all end well. 'options' with mem=0 get the memory
    that the guests need; watch(lines) is called for each line.
    """
    boot_plan = plan.make_plan(guests, build.mini_kernel(where), settings or {})
    if not options.mem:
        options = replace(options, mem=plan.host_memory(boot_plan, None))
    ran: dict[str, list[str]] = {}

    def on_line(line: LogLine | None, _: str) -> None:
        if line:
            ran.setdefault(line.who, []).append(line.text)
        if watch:
            watch(ran)

    session = Session(boot_plan, options, Limits(timeout=timeout, one_failed=True), on_line)
    outcome = session.run(
        lambda machine: multiboot(where / "xylem.elf", "", boot_plan.stage(machine.dir)))
    if outcome.what != "done":
        bad = [text for texts in ran.values() for text in texts
               if "FAIL" in text or "panic" in text]
        bad += [f"{guest.name}: {guest.state}: {guest.reason}"
                for guest in session.results.guests.values() if guest.reason]
        raise XylemError("\n".join([f"the guests did not end well: {outcome.what}", *bad[:5]]))
    return Ran(ran, session.results, options.mem)
