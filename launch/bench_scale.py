# SPDX-License-Identifier: MIT
"""Independent work on 1 to 64 CPUs: what it costs, what it shares, and what that means."""

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import build, report, scale_guest, scale_model, svg, ui
from launch.errors import Parser, UsageError, XylemError
from launch.scale_model import Cost, Machine
from launch.units import parse_int

LAYOUTS = ("domains", "vcpus")
PARTS = ("native", "lines", "qemu", "model")
FLAT = scale_guest.FLAT

# Operations whose operands are apart and that yet share something; the reason is printed.
NOTES = {
    ("port bind, close", "vcpus"): "ports are given out from one table, lowest first",
    ("decrease, populate", "domains"): "every 128 frames a grace period looks at each other pCPU",
    ("share a page", "domains"): "contents of several pCPUs meet in a bucket of the table",
    ("first touch", "domains"): "the records of fresh frames were written by another pCPU once",
    ("first touch", "vcpus"): "the records of fresh names were written by another pCPU once",
    ("share break", "domains"): "the records of fresh frames were written by another pCPU once",
    ("share break", "vcpus"): "each break has the domain's other vCPUs flush their TLBs",
    (scale_guest.CONTROL, "vcpus"): "not independent: to see that it is seen",
}
# In the model's picture; the last two are what Xylem does not do.
PICTURED = (("mmu_update", "vcpus"), ("event send", "vcpus"), ("set_timer", "vcpus"),
            ("decrease, populate", "domains"), ("share a page", "domains"),
            ("256 frames", "domains"), ("port bind, close", "vcpus"),
            ("mmu_update, counted", "domains"), ("mmu_update, locked", "domains"))
# What sharing a page reads and writes past the caches: hash and compare it, copy every second one.
SHARE_BYTES = 3 * 4096

EPILOG = """\
native   the host build's core on two real cores: CPU time per operation when one
         thread works and when both do, on operands of their own
lines    the same operations, played by one thread: basic blocks per operation and
         lines that move between pCPUs, by pCPU count
qemu     the hypervisor itself under QEMU with the profiler's plugin: instructions
         and moved lines per operation, by pCPU count; and bring-up
model    from native and lines: what 64 cores would give (launch/scale_model.py)
"""


def counts(most: int) -> list[int]:
    """1, 2, 4 and so on."""
    return [1 << i for i in range(most.bit_length()) if 1 << i <= most]


def run_json(words: list[str]) -> list[dict[str, Any]]:
    """A program's JSON lines."""
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True, timeout=1200)
    if done.returncode:
        raise XylemError(f"{' '.join(map(str, words))}: exit status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- native --------------------------------------------------------------------------------------


def native_rows(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per operation: the median over its rounds."""
    rows = []
    for key in dict.fromkeys((one["op"], one["layout"]) for one in rounds):
        some = [one for one in rounds if (one["op"], one["layout"]) == key]
        ratios = [statistics.mean(one["both"]) / statistics.mean(one["alone"]) for one in some]
        rows.append({"op": key[0], "layout": key[1], "control": some[0]["control"],
                     "alone_ns": 1e9 / statistics.median(statistics.mean(one["alone"])
                                                         for one in some),
                     "efficiency": statistics.median(ratios),
                     "least": min(ratios), "most": max(ratios),
                     "overlap": statistics.median(one["overlap"] for one in some)})
    return rows


def native(where: Path, rounds: int, milliseconds: int) -> dict[str, Any]:
    """One and two threads on real cores."""
    program = str(where / "stress" / "scale_bench")
    found = []
    for layout in LAYOUTS:
        ui.say(f"bench scale: two cores, {layout}")
        found += run_json([program, "pace", layout, str(rounds), str(milliseconds)])
    moves = [one["transfer_ns"] for one in run_json([program, "transfer", "5"])]
    return {"rounds": rounds, "slice_ms": milliseconds, "transfer_ns": min(moves),
            "ops": native_rows(found)}


def native_table(data: dict[str, Any]) -> str:
    """For people."""
    rows = [[row["op"], row["layout"], f"{row['alone_ns']:.1f}", f"{row['efficiency']:.3f}",
             f"{row['least']:.2f} to {row['most']:.2f}", f"{row['overlap']:.2f}",
             "control" if row["control"] else ""] for row in data["ops"]]
    return (report.render(["operation", "operands in", "ns alone", "at 2 / at 1", "rounds",
                           "overlap", ""], rows) +
            f"\nA line goes from core to core in {data['transfer_ns']:.0f} ns.")


# ---- lines ---------------------------------------------------------------------------------------


def lines(where: Path, most: int) -> list[dict[str, Any]]:
    """Blocks and moved lines by number of pCPUs."""
    ui.say(f"bench scale: moved lines on 1 to {most} pCPUs")
    return [row for layout in LAYOUTS for count in counts(most)
            for row in run_json([str(where / "stress" / "scale_lines"), layout, str(count)])]


def by_op(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows of each operation and layout, by pCPUs."""
    out: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda one: int(one["pcpus"])):
        out.setdefault((row["op"], row["layout"]), []).append(row)
    return out


def flatness(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """How far 'key' is from what it was with the fewest pCPUs, at worst; and lines moved at most."""
    out = []
    for (op, layout), some in by_op(rows).items():
        worst = max(some, key=lambda row: abs(row[key] / some[0][key] - 1))
        change = worst[key] / some[0][key] - 1
        out.append({"op": op, "layout": layout, "control": some[0]["control"], "first":
                    some[0][key], "last": some[-1][key], "change": change, "at": worst["pcpus"],
                    "transfers": max(row["transfers"] for row in some),
                    # The first pCPU has timers of its own: what it does may cost more than elsewhere.
                    "note": NOTES.get((op, layout), ""),
                    "flat": max(row[key] for row in some) <= some[0][key] * (1 + FLAT)})
    return out


def flat_table(found: list[dict[str, Any]], unit: str, most: int) -> str:
    """For people."""
    rows = [[row["op"], row["layout"], f"{row['first']:.1f}", f"{row['last']:.1f}",
             f"{row['change'] * 100:+.1f}% at {row['at']}", f"{row['transfers']:.2f}",
             "control" if row["control"] else row["note"]] for row in found]
    return report.render(["operation", "operands in", f"{unit} at 1", f"at {most}", "largest change",
                          "moves/op", ""], rows)


# ---- under QEMU ----------------------------------------------------------------------------------


def qemu(most: int, timeout: float) -> dict[str, Any]:
    """The hypervisor itself."""
    ops, boots = [], []
    for count in counts(most):
        for layout in LAYOUTS:
            ui.say(f"bench scale: QEMU with {count} pCPUs, {layout}")
            ops += scale_guest.work(layout, count, timeout)
        ui.say(f"bench scale: QEMU with {count} pCPUs, bring-up")
        boots.append(scale_guest.bring_up(count, timeout))
    return {"ops": ops, "bring_up": boots}


def bring_up_table(boots: list[dict[str, Any]]) -> str:
    """For people."""
    rows, before = [], None
    for boot in boots:
        # One pCPU alone also waits for no one, which is another path.
        each = "" if before is None or before["pcpus"] == 1 else \
            f"{(boot['bsp'] - before['bsp']) / (boot['pcpus'] - before['pcpus']):.0f}"
        rows.append([str(boot["pcpus"]), "" if boot["ap"] is None else f"{boot['ap']:.0f}",
                     "" if boot["ap"] is None else f"{boot['ap_least']} to {boot['ap_most']}",
                     each])
        before = boot
    return report.render(["pCPUs", "instructions of an AP", "least to most",
                          "of the first pCPU for each more"], rows)


# ---- model ---------------------------------------------------------------------------------------


def cost_of(row: dict[str, Any], alone_ns: float) -> Cost:
    """What the model needs of an operation on so many pCPUs."""
    return Cost(alone_ns, row["transfers"],
                tuple((line["transfers"], line["cpus"]) for line in row["hot"]), row["locked"],
                SHARE_BYTES if row["op"] == "share a page" else 0.0)


def model(native_data: dict[str, Any], moved: list[dict[str, Any]], machine: Machine
          ) -> dict[str, Any]:
    """Throughput by cores; and, at two, the model on this machine against what it did."""
    here = Machine(native_data["transfer_ns"], native_data["transfer_ns"])
    measured = {(row["op"], row["layout"]): row for row in native_data["ops"]}
    ops, check = [], []
    for key, rows in by_op(moved).items():
        if key not in measured:
            continue
        alone = measured[key]["alone_ns"]
        points = [[row["pcpus"], row["pcpus"] * scale_model.efficiency(
            cost_of(row, alone), row["pcpus"], machine)] for row in rows]
        ops.append({"op": key[0], "layout": key[1], "control": rows[0]["control"],
                    "alone_ns": alone, "speedup": points,
                    "efficiency": points[-1][1] / points[-1][0]})
        two = [row for row in rows if row["pcpus"] == 2]
        if two:
            check.append({"op": key[0], "layout": key[1],
                          "measured": measured[key]["efficiency"],
                          "model": scale_model.efficiency(cost_of(two[0], alone), 2, here)})
    return {"machine": machine.json(), "ops": ops, "two_cores": check}


def model_table(data: dict[str, Any]) -> str:
    """For people."""
    two = {(row["op"], row["layout"]): row for row in data["two_cores"]}
    rows = []
    for row in data["ops"]:
        check = two.get((row["op"], row["layout"]))
        cores, speedup = row["speedup"][-1]
        rows.append([row["op"], row["layout"], f"{speedup:.1f}", f"{row['efficiency']:.3f}",
                     f"{check['model']:.2f}" if check else "",
                     f"{check['measured']:.2f}" if check else "",
                     "control" if row["control"] else ""])
    cores = data["ops"][-1]["speedup"][-1][0]
    machine = data["machine"]
    return (report.render(["operation", "operands in", f"speed-up on {cores}", "per core",
                           "model of two here", "measured", ""], rows) +
            f"\nAssumed: a line moves in {machine['near_ns']:g} ns within a socket of "
            f"{machine['socket_cores']} cores, {machine['far_ns']:g} ns between sockets; "
            f"{machine['memory_gb_s']:g} GB/s of memory per socket. More in "
            "launch/scale_model.py.")


# ---- pictures, document --------------------------------------------------------------------------


def charts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """See launch/svg.py."""
    out: list[dict[str, Any]] = []
    if "model" in data:
        found = {(row["op"], row["layout"]): row for row in data["model"]["ops"]}
        most = max(row["speedup"][-1][0] for row in found.values())
        series = [{"name": "ideal", "points": [[1, 1], [most, most]], "dash": True}]
        series += [{"name": key[0], "points": found[key]["speedup"], "marks": True}
                   for key in PICTURED if key in found]
        out.append({"title": "What the model says: throughput against cores", "x": "cores",
                    "y": "times one core's", "xmin": 0, "series": series})
    if "native" in data:
        rows = [row for row in data["native"]["ops"] if row["layout"] == "domains"]
        out.append({"title": "Measured on two cores: throughput per core against one core's",
                    "kind": "bars", "x": "operation, as in the table", "y": "at 2 / at 1",
                    "categories": [str(index + 1) for index in range(len(rows))],
                    "series": [{"name": "operands in domains",
                                "values": [row["efficiency"] for row in rows]}]})
    if "qemu" in data:
        for layout in LAYOUTS:
            series = [{"name": key[0], "points": [[row["pcpus"], row["instructions"] /
                                                   rows[0]["instructions"]] for row in rows]}
                      for key, rows in by_op(data["qemu"]["ops"]).items()
                      if key[1] == layout and not rows[0]["control"]]
            out.append({"title": f"Instructions per operation, operands in {layout}", "x": "pCPUs",
                        "y": "times one pCPU's", "xmin": 0, "ymin": 0, "series": series})
    return out


def verdicts(data: dict[str, Any]) -> list[str]:
    """What --check does not accept. No time is looked at."""
    wrong = []
    for part, key in (("lines", "most"), ("qemu", "instructions")):
        if part not in data:
            continue
        rows = data["lines"] if part == "lines" else data["qemu"]["ops"]
        for row in flatness(rows, key):
            known = row["control"] or row["note"]
            if not row["flat"] and not known:
                wrong.append(f"{part}: {row['op']} ({row['layout']}): its work changes by "
                             f"{row['change'] * 100:+.1f}% at {row['at']} pCPUs")
            if part == "lines" and row["transfers"] and not known:
                wrong.append(f"lines: {row['op']} ({row['layout']}) moves "
                             f"{row['transfers']:.2f} lines")
    if "lines" in data and max(row["pcpus"] for row in data["lines"]) > 1 and not any(
            row["transfers"] for row in data["lines"] if row["op"] == "one counter"):
        wrong.append("lines: a counter of all moved no line: the test is blind")
    boots = [boot for boot in data.get("qemu", {}).get("bring_up", []) if boot["ap"] is not None]
    wrong += [f"bring-up: {boot['ap']:.0f} instructions per AP with {boot['pcpus']} pCPUs, "
              f"{boots[0]['ap']:.0f} with {boots[0]['pcpus']}" for boot in boots
              if abs(boot["ap"] / boots[0]["ap"] - 1) > FLAT]
    return wrong


def document(data: dict[str, Any]) -> dict[str, Any]:
    """
    The JSON document: schema 1, and of what was asked for:
    native: rounds, slice_ms, transfer_ns, ops[]: op, layout (domains: each pCPU's operands are a
    domain of its own; vcpus: a vCPU of one domain), control (not Xylem's), alone_ns (CPU time),
    efficiency (median over the rounds of per-thread throughput at two threads by that at one),
    least, most, overlap (share of a slice in which both ran).
    lines[]: op, layout, pcpus, control, locked, blocks (mean per operation; least, most of one
    pCPU), transfers, moving_lines (how many different ones), hot[]: transfers, cpus, code.
    qemu: ops[]: op, layout, pcpus, control, instructions (mean, without waiting; least, most), spin,
    interrupts, transfers; bring_up[]: pcpus, instructions of the first pCPU (bsp; bsp_spin: waiting)
    and of the others (ap: median; ap_least, ap_most).
    model: machine (its parameters), ops[]: op, layout, control, alone_ns, speedup[] of [cores,
    times one core], efficiency (per core at the most cores); two_cores[]: op, layout, measured,
    model (with this machine's transfer_ns).
    flat[]: part, op, layout, first, last (of most, instructions), change, at, transfers, note, flat.
    charts[]: launch/svg.py.
    """
    flat = [{"part": "lines", **row} for row in flatness(data.get("lines", []), "most")]
    flat += [{"part": "qemu", **row}
             for row in flatness(data.get("qemu", {}).get("ops", []), "instructions")]
    return {"schema": 1, **data, "flat": flat, "charts": charts(data)}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    out = Parser(prog="./xylem bench scale", description=__doc__, epilog=EPILOG,
                 formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--only", choices=PARTS, help="only this part (model: what it needs, too)")
    out.add_argument("--max", metavar="N", default="64", help="most pCPUs (64)")
    out.add_argument("--rounds", metavar="N", default="9", help="rounds on real cores (9)")
    out.add_argument("--small", action="store_true", help="quickly: 4 pCPUs, one round")
    out.add_argument("--check", action="store_true",
                     help="fail when a count that should not depend on the pCPUs does")
    out.add_argument("--json", metavar="FILE", help="write the results there")
    out.add_argument("--svg", metavar="FILE", help="draw them")
    out.add_argument("--timeout", metavar="SECONDS", default="600", help="per boot (600)")
    for name, value in Machine().json().items():
        out.add_argument(f"--{name.replace('_', '-')}", metavar="N", type=type(value),
                         default=value, help=f"of the model's machine ({value:g})")
    return out


def main(argv: list[str]) -> int:
    """The command."""
    args = parser().parse_args(argv)
    most = parse_int(args.max, "--max", 1, 64)
    rounds = parse_int(args.rounds, "--rounds", 1, 1000)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)
    machine = Machine(**{name: getattr(args, name) for name in Machine().json()})
    if args.small:
        most, rounds = min(most, 4), 1
    wanted = {"model": ("native", "lines", "model")}.get(args.only, (args.only,)) if args.only \
        else PARTS
    if "native" in wanted and len(os.sched_getaffinity(0)) < 2:
        if args.only:
            raise UsageError(f"--only {args.only} needs two cores")
        ui.say("bench scale: one core only: nothing is measured on two, and nothing modelled")
        wanted = ("lines", "qemu")
    data: dict[str, Any] = {}
    out: list[tuple[str, Callable[[], str]]] = []
    if "native" in wanted or "lines" in wanted:
        where = build.build("host", ["stress_scale_bench", "stress_scale_lines"], "the host build")
    if "native" in wanted:
        data["native"] = native(where, rounds, 5 if args.small else 20)
        out.append(("Real cores", lambda: native_table(data["native"])))
    if "lines" in wanted:
        data["lines"] = lines(where, most)
        out.append(("Basic blocks (of the busiest pCPU) and moved lines, by the host build",
                    lambda: flat_table(flatness(data["lines"], "most"), "blocks",
                                       counts(most)[-1])))
    if "qemu" in wanted:
        data["qemu"] = qemu(most, timeout)
        out.append(("Instructions and moved lines of the hypervisor, under QEMU", lambda: flat_table(
            flatness(data["qemu"]["ops"], "instructions"), "instructions", counts(most)[-1])))
        out.append(("Bring-up", lambda: bring_up_table(data["qemu"]["bring_up"])))
    if "model" in wanted:
        data["model"] = model(data["native"], data["lines"], machine)
        out.append(("The model", lambda: model_table(data["model"])))
    for title, table in out:
        print(f"{title}\n\n{table()}\n")
    if args.json:
        report.write_json(Path(args.json), document(data))
    if args.svg:
        report.write_text(Path(args.svg), svg.picture(charts(data)))
    wrong = verdicts(data) if args.check else []
    for text in wrong:
        ui.say(text)
    return 1 if wrong else 0
