# SPDX-License-Identifier: MIT
"""The table at the end of a run, and its JSON form."""

import json
from pathlib import Path
from typing import Any

from launch.errors import XylemError
from launch.records import GuestResult, Results


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def render(header: list[str], rows: list[list[str]]) -> str:
    """A plain table; columns after the second are right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    out = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)


def table(results: Results) -> str:
    """One row per guest."""
    header = ["guest", "state", "vCPUs", "memory", "userspace", "CPU time", "events",
              "hypercalls"]
    rows = []
    fine = {}  # of those that ./xylem ctl made: only a count, they may be thousands
    for guest in results.guests.values():
        if guest.made and guest.state in ("off", "destroyed"):
            fine[guest.state] = fine.get(guest.state, 0) + 1
            continue
        rows.append([guest.name, guest.state, str(guest.vcpus), f"{guest.mem_mib:g} MiB",
                     _number(guest.userspace_s, ".2f") + (" s" if guest.userspace_s is not None
                                                          else ""),
                     _number(guest.cpu_s, ".2f") + (" s" if guest.cpu_s is not None else ""),
                     _number(guest.events, "d"), _number(guest.hypercalls, "d")])
    text = render(header, rows)
    for guest in results.guests.values():
        if guest.state not in ("off", "destroyed") and guest.reason:
            text += f"\n{guest.name}: {guest.reason}"
    if fine:
        text += "\ncreated while it ran: " + ", ".join(
            f"{count} {state}" for state, count in sorted(fine.items()))
    return text


def guest_json(guest: GuestResult) -> dict[str, Any]:
    """One element of guests[]."""
    return {"name": guest.name, "kind": guest.kind, "vcpus": guest.vcpus,
            "mem_mib": guest.mem_mib, "state": guest.state, "reason": guest.reason,
            "userspace_s": guest.userspace_s, "start_s": guest.start_s, "end_s": guest.end_s,
            "cpu_s": guest.cpu_s, "events": guest.events, "hypercalls": guest.hypercalls,
            **({"created": True} if guest.made else {}),
            **({"extra": guest.extra} if guest.extra else {})}


def document(results: Results, pcpus: int, mem: int, exit_status: int, wall_s: float,
             outcome: str, kernels: list[dict[str, str]]) -> dict[str, Any]:
    """The whole JSON document of a run (schema: README)."""
    return {"schema": 1, "exit_status": exit_status, "outcome": outcome, "pcpus": pcpus,
            "pcpus_online": results.pcpus_online, "mem_mib": mem // 1048576,
            "boot_s": results.boot_s, "wall_s": round(wall_s, 3), "kernels": kernels,
            "hypervisor": results.totals,
            "guests": [guest_json(guest) for guest in results.guests.values()],
            "memory": results.memory.final(),
            "mem_series": [sample.json() for sample in results.memory.series],
            **({"locks": results.locks.last} if results.locks.last else {})}


def write_text(path: Path, text: str) -> None:
    """Write a text file for the user."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise XylemError(f"cannot write {path}: {error.strerror}") from None


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    # A series is long: one line for each sample.
    series = data.get("mem_series")
    text = json.dumps({**data, "mem_series": []} if series else data, indent=2)
    if series:
        text = text.replace('"mem_series": []', '"mem_series": [\n    '
                            + ",\n    ".join(map(json.dumps, series)) + "\n  ]")
    try:
        part.write_text(f"{text}\n")
        part.replace(path)
    except OSError as error:
        raise XylemError(f"cannot write {path}: {error.strerror}") from None
