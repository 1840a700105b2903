# SPDX-License-Identifier: MIT
"""The density experiment with stock Linux guests: what many do against what one does alone."""

import time
from typing import Any

from launch import build, linux_load, minis, ui
from launch.machine import Options

FIRST_S = 60  # one guest is up by then
SPARE = 1.3  # how much longer than so many times one boot the boots may take; waiting costs no time
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
    began = time.monotonic()
    ran = minis.run(where, [linux_load.guest(where, name, words) for name in names],
                    Options(1, 0, icount=True, icount_shift=4, qemu_args=linux_load.QEMU_ARGS),
                    timeout)
    units = [linux_load.result(name, ran.lines.get(name, [])).units for name in names]
    samples = ran.results.memory.series
    during = [one for one in samples if from_s <= one.t_s < from_s + secs] or samples[-1:]
    total = during[-1].total if during else {}
    return {"guests": guests, "seconds": secs, "units": sum(units), "least": min(units),
            "most": max(units), "wall_s": time.monotonic() - began,
            "ready_ms": max(linux_load.ready_ms(ran.lines[name]) for name in names),
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
