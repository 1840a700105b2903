# SPDX-License-Identifier: MIT
"""Cache lines that the hypervisor moves between CPUs: between commuting operations, or in any run."""

import argparse
import json
from pathlib import Path
from typing import Any

from launch import commute, heatmap, lines_run, report, run, scan_cost, ui
from launch.errors import Parser
from launch.tally import Tally
from launch.units import parse_int

CONTROL = "same-entry"  # a pair that does not commute: it must share lines, or the test is blind

EPILOG = """\
Without --guest: the scalable-commutativity test. Every two operations that
commute run at the same time on two pCPUs, and each line that hypervisor code of
one side wrote and that of the other read or wrote is listed. --check fails when
a pair shares a line, leaving out those that one side used in fewer than one of
16 operations.

With --guest: any guests, under the profiler; the lines that moved most.
"""


def parser() -> Parser:
    """The command's options."""
    out = Parser(prog="./xylem profile lines", description=__doc__, epilog=EPILOG,
                 formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--only", metavar="OPERATION", default="",
                     help="pairs with this operation only")
    out.add_argument("--domains", choices=("1", "2"), help="both sides in one domain, in two")
    out.add_argument("--check", action="store_true", help="fail when a pair shares a line")
    out.add_argument("--scan-cost", action="store_true",
                     help="what the sharing scanner at full rate costs mmu_update, instead")
    run.machine_options(out)
    out.add_argument("--for", dest="seconds", metavar="SECONDS",
                     help="end the guests this long after all pCPUs are online")
    out.add_argument("--icount", action="store_true", help="deterministic time (one CPU at a time)")
    out.add_argument("--json", metavar="FILE", help="write the results there")
    out.add_argument("--svg", metavar="FILE", help="draw the pairs as a heat map")
    out.add_argument("--timeout", metavar="SECONDS", default="600", help="per boot (600)")
    return out


def measure(args: argparse.Namespace, timeout: float) -> list[commute.Pair]:
    """All the boots."""
    pairs: list[commute.Pair] = []
    runs = [(1, args.only, False), (2, args.only, False), (1, "scanner", True)]
    for domains, only, scanner in runs:
        if args.domains and int(args.domains) != domains:
            continue
        if scanner and args.only not in ("", "scanner"):
            continue
        ui.say(f"profile lines: {'the scanner beside each operation' if scanner else 'pairs'} in "
               f"{'two domains' if domains == 2 else 'one domain'}")
        pairs += commute.run(domains, only, scanner, timeout)
    return pairs


def title(domains: int, scanner: bool) -> str:
    """Of one boot's pairs."""
    if scanner:
        return "Beside the sharing scanner at full rate"
    return f"Shared lines of commuting operations, {'two domains' if domains == 2 else 'one domain'}"


def summary(pairs: list[commute.Pair]) -> str:
    """What the user sees."""
    rows = []
    for pair in sorted(pairs, key=lambda one: -len(one.shared)):
        if pair.shared and pair.a != CONTROL:
            what: list[str] = []
            for line in pair.shared:
                what += [line.what] if line.what not in what else []
            rows.append([pair.key, str(len(pair.shared)), f"{pair.transfers:.2f}",
                         "; ".join(what[:3]) + (f" and {len(what) - 3} more" if len(what) > 3
                                                else "")])
    out = []
    if rows:
        out.append(report.render(["pair", "lines", "moves/op", "fields"], rows))
        out.append("")
    for domains, scanner in ((1, False), (2, False), (1, True)):
        some = [pair for pair in pairs if (pair.domains, pair.scanner) == (domains, scanner)
                and pair.a != CONTROL]
        if some:
            clean = sum(not pair.shared for pair in some)
            seldom = sum(bool(pair.shared) and not pair.steady for pair in some)
            forced = sum(bool(pair.forced) for pair in some)
            interrupts = sum(bool(pair.interrupts) for pair in some)
            out.append(f"{title(domains, scanner)}: {clean} of {len(some)} pairs share no line, "
                       f"{seldom} share one only now and then (once per batch); "
                       f"{forced} have lines that the ABI's layout forces, {interrupts} such that "
                       "only interrupts share (flushes asked for, messages)")
    return "\n".join(out)


def compare(pairs: list[commute.Pair]) -> list[str]:
    """
    Pairs that share a line; controls that share nothing. The scanner at full rate waits for grace
    periods, so it looks at the other pCPU once per batch, in whatever pair that falls: its cost has a
    limit of its own.
    """
    pairs = [pair for pair in pairs if not pair.scanner]
    wrong = [f"{pair.key}: {pair.steady} shared lines: " +
             ", ".join(line.what for line in pair.shared if not line.rare)
             for pair in pairs if pair.a != CONTROL and pair.steady]
    wrong += [f"{pair.key}: shares no line, but it should" for pair in pairs
              if pair.a == CONTROL and not pair.shared]
    return wrong


def document(pairs: list[commute.Pair]) -> dict[str, Any]:
    """
    The JSON document: schema 1; runs: operations measured per side; pairs[]: domains, scanner (with
    it at full rate), a, b, shared_lines, forced_lines (the ABI's layout makes them one line),
    interrupt_lines (only interrupt handling shares them), transfers_per_op, and the lines
    themselves in shared[], forced[], interrupts[]: fields, sides[] with cpu, reads, writes,
    interrupt_reads, interrupt_writes, read and written (fields), read_by, written_by (functions);
    rare: one side used it in fewer than one of 16 operations.
    """
    return {"schema": 1, "runs": commute.RUNS, "pairs": [pair.json() for pair in pairs]}


def draw(pairs: list[commute.Pair]) -> str:
    """The heat maps."""
    triangles = []
    for domains, scanner in ((1, False), (2, False), (1, True)):
        some = [pair for pair in pairs if (pair.domains, pair.scanner) == (domains, scanner)
                and pair.a != CONTROL]
        names = list(dict.fromkeys(name for pair in some for name in (pair.a, pair.b)))
        if some:
            triangles.append((title(domains, scanner), names,
                              {(pair.a, pair.b): (len(pair.shared), len(pair.forced),
                                                  len(pair.interrupts))
                               for pair in some}))
    return heatmap.picture(triangles)


def test(tally: Tally, match: str) -> None:
    """For ./xylem test: each boot's pairs; the scanner's cost."""
    for domains in (1, 2):
        name = title(domains, False)
        if match not in name:
            continue
        pairs = commute.run(domains, "", False, 900)
        wrong = compare(pairs)
        tally.add(f"lines: {name}: {len(pairs)} pairs", not wrong, "\n".join(wrong))
    name = "the sharing scanner's cost for mmu_update"
    if match in name:
        data = scan_cost.measure(600)
        tally.add(f"lines: {name}: {data['ratio']:.3f} times", data["ok"], json.dumps(data))


def run_scan_cost(args: argparse.Namespace, timeout: float) -> int:
    """--scan-cost."""
    ui.say("profile lines: mmu_update without and with the scanner")
    data = scan_cost.measure(timeout)
    rows = [[name, "mmu_update", *(f"{data[key][what]:.3f}" for what in (
        "instructions", "of_interrupts", "moves", "moves_in_interrupts"))]
        for name, key in (("alone", "alone"), ("beside the scanner", "beside_scanner"))]
    print(report.render(["run", "operation", "instructions", "of them interrupts", "lines moved",
                         "in interrupts"], rows))
    print(f"{data['ratio']:.3f} times the instructions (limit {data['limit']}), "
          f"{data['scanned']} pages scanned")
    if args.json:
        report.write_json(Path(args.json), data)
    return 0 if data["ok"] else 1


def main(argv: list[str]) -> int:
    """The command."""
    args = parser().parse_args(argv)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)
    if args.guest:
        return lines_run.main(args, timeout)
    if args.scan_cost:
        return run_scan_cost(args, timeout)
    pairs = measure(args, timeout)
    print(summary(pairs))
    if args.json:
        report.write_json(Path(args.json), document(pairs))
    if args.svg:
        report.write_text(Path(args.svg), draw(pairs))
    if args.check:
        wrong = compare(pairs)
        for text in wrong:
            ui.say(text)
        return 1 if wrong else 0
    return 0
