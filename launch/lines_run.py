# SPDX-License-Identifier: MIT
"""Any guests under the profiler: where the hypervisor's cache lines go."""

import argparse
from pathlib import Path
from typing import Any

from launch import build, plan, profiler, report, run, ui
from launch.errors import UsageError, XylemError
from launch.hvnames import Names
from launch.machine import Options, multiboot
from launch.session import Limits, Session
from launch.units import GIB, parse_seconds

MOST_MEMORY = 2 * GIB  # above, QEMU's file and the machine's addresses differ
SHOWN = 30


def totals(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each kind of hypervisor work did, all pCPUs together."""
    found: dict[int, dict[str, Any]] = {}
    for record in records:
        if record["rec"] == "entry":
            entry = found.setdefault(record["entry"], {
                "name": profiler.ENTRY_NAMES[record["entry"]], "calls": 0, "instructions": 0,
                "moves": 0})
            entry["calls"] += record["calls"]
            entry["instructions"] += record["hv"]
            entry["moves"] += record["transfers"]
    return sorted(found.values(), key=lambda one: -int(one["moves"]))


def hot_lines(records: list[dict[str, Any]], names: Names) -> list[dict[str, Any]]:
    """The lines that moved most, by name."""
    seen = {record["phys"]: record for record in records if record["rec"] == "seen"}
    out = []
    for record in records:
        if record["rec"] != "hot":
            continue
        # By now its frame may be free: what it was when it was hot.
        known = {**record, **seen.get(record["phys"], {}), "virt": record["virt"]}
        mask = int(record["rmask"], 16) | int(record["wmask"], 16)
        place = names.line(known, mask)
        out.append({"fields": place.what, "forced": place.forced, "moves": record["transfers"],
                    "reads": record["r"], "writes": record["w"],
                    "taken_by": names.code(int(record["pc"], 16)),
                    "written_by": names.code(int(record["from"], 16))})
    return out


def measure(args: argparse.Namespace, timeout: float) -> tuple[dict[str, Any], int]:
    """Boot the guests; the JSON document and the run's status."""
    pcpus, mem, guests = run.check_early(args)
    seconds = parse_seconds(args.seconds, "--for") if args.seconds else None
    chosen = run.settings(args)
    where = build.hypervisor()
    need_mini = any(guest.family == "mini" for guest in guests)
    boot_plan = plan.make_plan(guests, build.mini_kernel(where) if need_mini else None, chosen)
    size = plan.host_memory(boot_plan, mem)
    if size > MOST_MEMORY:
        raise UsageError(f"the guests need {size >> 20}M: profile lines takes at most "
                         f"{MOST_MEMORY >> 20}M (--mem)")
    with profiler.scratch() as temp:
        out, memory = temp / "profile", temp / "memory"
        options = Options(pcpus, size, args.icount, [
            *profiler.memory_file(memory, size),
            *profiler.plugin(where, out, lines=True, entries=True, memory=memory),
            *args.qemu_arg])
        session = Session(boot_plan, options, Limits(seconds, timeout), lambda *_: None)
        outcome = session.run(lambda machine: multiboot(
            where / "xylem.elf", " ".join(args.hv), boot_plan.stage(machine.dir)))
        if outcome.status == 3 or outcome.what == "timeout":
            raise XylemError(f"the guests did not end well: {outcome.what}")
        records = list(profiler.records(out))
        names = Names(where / "xylem64.elf", memory)
        names.look()
        cpus = [{key: record[key] for key in ("cpu", "hv", "guest", "irq", "spin", "transfers",
                                              "irq_transfers")}
                for record in records if record["rec"] == "cpu"]
        lost = [record for record in records if record["rec"] == "lost"]
        return {"schema": 1, "pcpus": pcpus, "mem_mib": size >> 20, "outcome": outcome.what,
                "wall_s": round(outcome.wall_s, 3), "cpus": cpus, "entries": totals(records),
                "lines": hot_lines(records, names), "lost": lost[0] if lost else {}
                }, outcome.status


def show(data: dict[str, Any]) -> str:
    """Two tables: kinds of work, and lines."""
    entries = [[one["name"], "", f"{one['calls']}",
                f"{one['instructions'] / max(1, one['calls']):.0f}", f"{one['moves']}",
                f"{one['moves'] / max(1, one['calls']):.3f}"] for one in data["entries"]]
    lines = [[str(index + 1), one["fields"][:90] + (" (guest's)" if one["forced"] else ""),
              f"{one['moves']}", one["taken_by"], one["written_by"]]
             for index, one in enumerate(data["lines"][:SHOWN])]
    moves = sum(one["transfers"] + one["irq_transfers"] for one in data["cpus"])
    code = sum(one["hv"] + one["irq"] for one in data["cpus"])
    return "\n".join([
        report.render(["work", "", "calls", "instructions", "moves", "moves/call"], entries), "",
        report.render(["line", "fields", "moves", "taken by", "written by"], lines), "",
        f"{moves} lines moved between pCPUs in {code} instructions of the hypervisor: "
        f"{1000 * moves / max(1, code):.3f} per 1,000; {moves / data['wall_s']:.0f} a second of "
        f"this run's {data['wall_s']:.0f}"])


def main(args: argparse.Namespace, timeout: float) -> int:
    """--guest."""
    ui.say("profile lines: the guests run under the profiler, several times slower than usual")
    data, status = measure(args, timeout)
    print(show(data))
    if args.json:
        report.write_json(Path(args.json), data)
    return status
