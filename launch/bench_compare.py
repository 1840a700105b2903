# SPDX-License-Identifier: MIT
"""Instructions per operation side by side with Debian's Xen 4.17; deterministic under -icount."""

import statistics
import sys
from pathlib import Path
from typing import Any

from launch import build, compare, compare_linux, debian, report, svg
from launch.compare import Run, Work
from launch.errors import Parser, XylemError
from launch.guestspec import Guest
from launch.units import parse_int, parse_seconds

# What the clock counts: a guest that counts 1,000 instructions otherwise measures nothing.
CHECK = "1000 nops"
EPILOG = """\
Both hypervisors boot on the same QEMU machine with one pCPU and -icount shift=0, where a tick of
the TSC is an instruction, Xen with the guest as its Domain0. 'micro' is guest/roles/bench*.c:
the median of single operations. What a guest pays for the call itself is part of each figure.
Operations that Xylem does not have (grants) are left out.
'linux' is Debian's kernel with guest/linux/bench.c as its first process, one vCPU; there, boots
count the time in which the CPU sleeps as well, and a Domain0 also looks for the machine's devices.
"""


def micro(where: Path, samples: int, timeout: float) -> Work:
    """One mini guest, the same binary on both."""
    guest = Guest("mini-bench", "bench", vcpus=2, mem=64 << 20, cmdline=f"n={samples}")
    return Work("micro", guest, build.mini_kernel(where), r"mini: PASS role=bench", timeout)


def domains(where: Path, samples: int, timeout: float) -> Work:
    """Two domains; on Xen that would need a toolstack."""
    sides = [Guest("mini-bench", name, mem=16 << 20, cmdline=f"n={samples} side={side} peer={peer}")
             for name, side, peer in (("bench", "a", 2), ("peer", "b", 1))]
    return Work("two domains", sides[0], build.mini_kernel(where), r"bench\| mini: PASS", timeout,
                sides[1:])


def run_group(work: Work, systems: dict[str, Path], runs: int, log: Any) -> list[Run]:
    """All runs of one guest."""
    found = []
    for _ in range(runs):
        for system, elf in systems.items():
            found.append(compare.measure(
                work, system, elf, (lambda text: print(text, file=log)) if log else None))
    return found


def summary(ops: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and largest ratio, of all and of each group, and the operations above Xen's."""
    def both(chosen: list[dict[str, Any]]) -> dict[str, Any]:
        ratios = [op["ratio"] for op in chosen if op["ratio"] is not None]
        return {"median_ratio": statistics.median(ratios) if ratios else None,
                "max_ratio": max(ratios, default=None)}
    groups = dict.fromkeys(op["group"] for op in ops)
    return {**both(ops),
            "groups": {group: both([op for op in ops if op["group"] == group])
                       for group in groups},
            "above": [op["name"] for op in ops if (op["ratio"] or 0) > 1.0]}


def table(ops: list[dict[str, Any]]) -> str:
    """One row per operation."""
    rows = [[op["name"], op["group"], *(_number(op[key]) for key in ("xen", "xylem")),
             "-" if op["ratio"] is None else f"{op['ratio']:.2f}"] for op in ops]
    return report.render(["operation", "", "Xen", "Xylem", "ratio"], rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}"


def chart(ops: list[dict[str, Any]]) -> dict[str, Any]:
    """All ratios as bars."""
    drawn = [op for op in ops if op["ratio"] is not None]
    return {"title": "Instructions per operation: Xylem over Xen 4.17", "kind": "ratios",
            "x": "ratio (log scale)", "y": "",
            "categories": [op["name"] for op in drawn],
            "series": [{"name": "Xylem / Xen", "values": [op["ratio"] for op in drawn]}],
            "levels": [{"name": "as Xen", "y": 1.0}]}


def judge(ops: list[dict[str, Any]], spread: float) -> list[str]:
    """What is wrong with the figures themselves."""
    wrong = [f"{op['name']}: no figure on {system}" for op in ops
             for system in ("xen", "xylem") if op[system] is None]
    wrong += [f"{op['name']}: runs differ by {compare.spread(op) * 100:.1f}%" for op in ops
              if compare.spread(op) > spread]
    return wrong


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench compare", description=__doc__, epilog=EPILOG)
    parser.add_argument("--only", choices=("micro", "linux"), help="run only one group")
    parser.add_argument("--samples", metavar="N", default="2000",
                        help="samples of each micro operation (2000; costly ones take fewer)")
    parser.add_argument("--runs", metavar="N", default="1",
                        help="boots of each; they must agree within --spread (1)")
    parser.add_argument("--spread", metavar="PCT", default="2",
                        help="what the runs of one system may differ by (2)")
    parser.add_argument("--most", metavar="PCT",
                        help="fail when an operation takes more of Xen's instructions than that")
    parser.add_argument("--timeout", metavar="SECONDS", default="900", help="per boot (900)")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--svg", metavar="FILE", help="draw the ratios there")
    parser.add_argument("--log", metavar="FILE", help="write what the guests printed there")
    args = parser.parse_args(argv)
    samples = parse_int(args.samples, "--samples", 10, 100000)
    runs = parse_int(args.runs, "--runs", 1, 100)
    spread = parse_int(args.spread, "--spread", 0, 100) / 100
    timeout = parse_seconds(args.timeout, "--timeout")
    most = parse_int(args.most, "--most", 1, 100000) / 100 if args.most else None

    where = build.hypervisor()
    systems = {"xen": compare.xen_image(), "xylem": where / "xylem.elf"}
    works = {"micro": lambda: micro(where, samples, timeout),
             "linux": lambda: compare_linux.work(where, timeout)}
    ops: list[dict[str, Any]] = []
    between: dict[str, compare.Figure] = {}
    log = open(args.log, "w", encoding="utf-8") if args.log else None
    try:
        for group, make in works.items():
            if not args.only or group == args.only:
                ops += compare.merge(group, run_group(make(), systems, runs, log))
        if args.only != "linux":
            between = run_group(domains(where, samples, timeout), {"xylem": systems["xylem"]}, 1,
                                log)[0].figures
    finally:
        if log:
            log.close()
    ops = checked(ops)
    alone: list[dict[str, Any]] = [{"name": name, "xylem": figure.value}
                                   for name, figure in between.items() if name != CHECK]
    data = {"schema": 1, "unit": "instructions", "samples": samples, "runs": runs,
            "xen_version": debian.candidate(compare.XEN_PACKAGE), **summary(ops), "ops": ops,
            "xylem_only": alone}
    print(table(ops))
    print(last_lines(data))
    for op in alone:
        print(f"Xylem only: {op['name']}: {_number(op['xylem'])}")
    if args.json:
        report.write_json(Path(args.json), {**data, "charts": [chart(ops)]})
    if args.svg:
        report.write_text(Path(args.svg), svg.picture([chart(ops)]))
    wrong = judge(ops, spread)
    if most is not None:
        wrong += [f"{op['name']}: {op['ratio']:.3f} of Xen's" for op in ops
                  if (op["ratio"] or 0) > most]
    for text in wrong:
        print(f"xylem: {text}", file=sys.stderr)
    return 1 if wrong or not ops else 0


def checked(ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operations without the clock's check, which must have come out exact."""
    for op in ops:
        if op["name"] == CHECK and not op["xen"] == op["xylem"] == 1000:
            raise XylemError("the clock does not count instructions: 1000 nops took "
                             f"{op['xen']} ticks on Xen, {op['xylem']} on Xylem")
    return [op for op in ops if op["name"] != CHECK]


def last_lines(data: dict[str, Any]) -> str:
    """Median, worst, and what is above Xen."""
    if data["median_ratio"] is None:
        return "nothing to compare"
    def text(name: str, of: dict[str, Any]) -> str:
        return f"{name}: median ratio {of['median_ratio']:.3f}, worst {of['max_ratio']:.3f}"
    above = data["above"]
    groups = [text(name, of) for name, of in data["groups"].items()
              if of["median_ratio"] is not None]
    return "\n".join(["", *groups, text("all", data) + f"; {len(above)} of {len(data['ops'])} "
                      "above 1", *(f"  {name}" for name in above)])
