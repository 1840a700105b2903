# SPDX-License-Identifier: MIT
"""The density experiment with stock Linux guests: what many do against what one does alone."""

import time
from typing import Any

from launch import build, linux_load, plan, ui
from launch.errors import XylemError
from launch.machine import Options, multiboot
from launch.records import LogLine
from launch.session import Limits, Session

FIRST_S = 60  # one guest is up by then
SPARE = 1.05  # how much longer than so many times one boot the boots may take
EACH_S = 1.0  # CPU time that each guest has in the measured time


def names_of(guests: int) -> list[str]:
    """Their names."""
    return [f"linux{i + 1}" for i in range(guests)]


def start_s(guests: int, ready_ms: int) -> int:
    """When all of them are up, as one takes until ready_ms."""
    return 5 + int(guests * ready_ms / 1000 * SPARE)


def run(guests: int, from_s: int, secs: int, timeout: float) -> dict[str, Any]:
    """Boot so many, which begin at from_s; their units, and the host's memory then."""
    where = build.hypervisor()
    words = linux_load.command_line("work", from_s, secs)
    names = names_of(guests)
    boot_plan = plan.make_plan([linux_load.guest(where, name, words) for name in names], None, {})
    lines: dict[str, list[str]] = {name: [] for name in names}
    progress = ui.Progress()
    began, last = time.monotonic(), 0.0

    def on_line(line: LogLine | None, _: str) -> None:
        nonlocal last
        if line and line.who in lines:
            lines[line.who].append(line.text)
            last = line.seconds

    def show() -> None:
        up = sum(any("load: ready" in text for text in of) for of in lines.values())
        done = sum(any("PASS role=work" in text for text in of) for of in lines.values())
        now = session.results.memory.last
        progress.show(f"xylem: {guests} Linux guests: {time.monotonic() - began:.0f} s; {up} up, "
                      f"{done} done; second {now.t_s if now else last:.0f} of "
                      f"{from_s + secs + 1} of the machine's time")

    options = Options(1, plan.host_memory(boot_plan, None), icount=True, icount_shift=4,
                      qemu_args=linux_load.QEMU_ARGS)
    session = Session(boot_plan, options, Limits(timeout=timeout), on_line)
    session.on_sample = show
    outcome = session.run(
        lambda machine: multiboot(where / "xylem.elf", "", boot_plan.stage(machine.dir)))
    progress.clear()
    if outcome.what != "done":
        bad = [text for of in lines.values() for text in of if "FAIL" in text or "panic" in text]
        raise XylemError(f"{guests} Linux guests: {outcome.what}; {'; '.join(bad[:3])}")
    units = [linux_load.result(name, lines[name]).units for name in names]
    when = [sample for sample in session.results.memory.series
            if from_s <= sample.t_s < from_s + secs] or session.results.memory.series[-1:]
    total = when[-1].total if when else {}
    return {"guests": guests, "seconds": secs, "units": sum(units), "least": min(units),
            "most": max(units), "ready_ms": max(linux_load.ready_ms(of) for of in lines.values()),
            "wall_s": outcome.wall_s,
            "memory": {f"{key}_pages": total.get(key) for key in ("given", "used", "saved")}}


def throughput(counts: list[int], secs: int, timeout: float) -> list[dict[str, Any]]:
    """Units per second of more and more guests, against those of one alone."""
    out: list[dict[str, Any]] = []
    for guests in counts:
        ui.say(f"bench density: {guests} Linux guest" + ("s" if guests > 1 else ""))
        from_s = start_s(guests, out[0]["ready_ms"]) if out else FIRST_S
        one = run(guests, from_s, max(secs, int(guests * EACH_S)), timeout)
        rate = one["units"] / one["seconds"]
        ideal = out[0]["units_per_s"] if out else rate
        out.append({**one, "units_per_s": rate, "ideal_per_s": ideal, "ratio": rate / ideal})
    return out


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """Of the table."""
    def mib(pages: Any) -> str:
        return f"{(pages or 0) / 256:.0f}"

    return [[str(one["guests"]), f"{one['units_per_s']:.1f}", f"{100 * one['ratio']:.1f}%",
             f"{one['least']} to {one['most']}", mib(one["memory"]["given_pages"]),
             mib(one["memory"]["used_pages"]), f"{one['wall_s']:.0f}"] for one in found]


HEAD = ["Linux guests", "units/s", "of the ideal", "units of a guest", "MiB given", "MiB used",
        "wall s"]
