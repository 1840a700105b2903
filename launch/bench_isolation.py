# SPDX-License-Identifier: MIT
"""Performance isolation: well-behaved guests beside guests that take all they can of one thing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from launch import build, guestspec, isolation_linux, linux_load, plan, report, svg, ui
from launch.errors import Parser, UsageError, XylemError
from launch.machine import Machine, Options, multiboot
from launch.records import LogLine
from launch.session import Limits, Session
from launch.units import MIB, parse_int

LIMIT = 0.05
ICOUNT_SHIFT = 4  # one instruction is 16 ns
FROM_S = 2  # system time at which the measured time begins: all guests are up
GOOD = ("good1", "good2")
BASELINE = "cpu"  # its neighbour only computes
HOGS = {
    "cpu": "computes (the fair neighbour that the others are held against)",
    "forks": "makes processes as fast as it can and ends them (a fork bomb)",
    "memory": "fills all its memory, writes to it over and over, and asks for more",
    "scarce": "does the same with more memory than the host has left",
    "events": "sends and binds event channels and keeps its timer firing",
    "tables": "pins and unpins page tables, maps, unmaps, flushes every pCPU",
}
HOG_MEM = {"memory": 32, "scarce": 96}
SCARCE_HOST = 32 * MIB
EPILOG = """\
Two well-behaved guests do a fixed mix of computing, hypercalls, page faults and mappings; a third
guest of the same weight is the antagonist. What a good guest does in the measured time is held
against what it does in the same place beside a guest that only computes: loss = 1 - units / units
there. So its fair share of the CPU is taken for granted, and all is counted that the antagonist
costs it: time taken from its share, and work made slower. On one pCPU time is instructions
(-icount): the figures repeat to the digit, and the limit holds for them. With several pCPUs the
antagonist has a vCPU on each, and what counts is units per second of the good guest's own CPU time;
time is the host's then (under -icount all pCPUs would share one count of instructions), so the
figures are shown but not judged. Disk and network hogs are not among the antagonists: there are no
such devices yet.

--linux: the antagonist is a Linux guest with Debian's kernel, and a third good guest, also Linux,
works beside the two: processes, programs, system calls, page faults, pipes, timers. One pCPU only.
"""


@dataclass
class Good:
    """What a good guest did."""

    name: str
    units: int
    running_ns: int

    def progress(self, pcpus: int) -> float:
        """What is compared."""
        return self.units if pcpus == 1 else self.units * 1e9 / max(1, self.running_ns)


def specs(hog: str, pcpus: int, secs: int) -> list[str]:
    """The --guest words."""
    role = "memory" if hog == "scarce" else hog
    work = f'cmdline="from={FROM_S} secs={secs} tail=1"'
    return [*(f"mini-work,name={name},mem=8M,min=8M,{work}" for name in GOOD),
            f"mini-hog,name=hog,vcpus={pcpus},mem={HOG_MEM.get(hog, 8)}M,min=4M,"
            f'cmdline="mode={role} seed=1"']


def _mini(hog: str, pcpus: int, secs: int, _where: Path) -> list[guestspec.Guest]:
    return [guestspec.parse_guest(text, pcpus)[0] for text in specs(hog, pcpus, secs)]


@dataclass
class Kind:
    """What the experiment is made with."""

    good: tuple[str, ...]
    hogs: dict[str, str]
    guests: Callable[[str, int, int, Path], list[guestspec.Guest]]
    scarce_host: int
    qemu_args: list[str] = field(default_factory=list)


MINI = Kind(GOOD, HOGS, _mini, SCARCE_HOST)
LINUX = Kind(isolation_linux.GOOD, isolation_linux.HOGS, isolation_linux.guests,
             isolation_linux.SCARCE_HOST, linux_load.QEMU_ARGS)


def parse(lines: dict[str, list[str]], good: tuple[str, ...] = GOOD) -> list[Good]:
    """The good guests' last lines."""
    return [Good(name, **asdict(linux_load.result(name, lines.get(name, [])))) for name in good]


def reclaimed(series: list[Any]) -> int:
    """Most pages that were swapped out or in balloons at once."""
    return max((int(sample.total.get("swapped") or 0) + int(sample.total.get("ballooned") or 0)
                for sample in series), default=0)


def run_case(hog: str, pcpus: int, secs: int, timeout: float,
             kind: Kind = MINI) -> tuple[list[Good], int]:
    """One antagonist beside the good guests; what they did, and pages taken from guests."""
    where = build.hypervisor()
    boot_plan = plan.make_plan(kind.guests(hog, pcpus, secs, where), build.mini_kernel(where), {})
    lines: dict[str, list[str]] = {}
    machines: list[Machine] = []

    def on_line(line: LogLine | None, _: str) -> None:
        if not line:
            return
        lines.setdefault(line.who, []).append(line.text)
        # The antagonist never ends by itself.
        if "PASS role=work" in line.text and all(
                any("PASS role=work" in text for text in lines.get(name, ()))
                for name in kind.good):
            machines[0].send(1, b"q\n")

    def boot(machine: Machine) -> list[str]:
        machines.append(machine)
        return multiboot(where / "xylem.elf", "", boot_plan.stage(machine.dir))

    mem = kind.scarce_host if hog == "scarce" else plan.host_memory(boot_plan, None)
    options = Options(pcpus, mem, icount=pcpus == 1, icount_shift=ICOUNT_SHIFT,
                      qemu_args=kind.qemu_args)
    session = Session(boot_plan, options, Limits(timeout=timeout), on_line)
    outcome = session.run(boot)
    if outcome.what not in ("done", "failed"):  # failed: the antagonist was ended
        raise XylemError(f"beside '{hog}': {outcome.what}")
    if not any(": hog mode=" in text for text in lines.get("hog", ())):
        raise XylemError(f"the antagonist '{hog}' never began")
    pages = reclaimed(outcome.results.memory.series)
    if hog == "scarce" and not pages:
        raise XylemError("memory was never scarce: the run proves nothing")
    return parse(lines, kind.good), pages


def measure(hogs: list[str], pcpus: int, secs: int, timeout: float,
            kind: Kind = MINI) -> list[dict[str, Any]]:
    """Each antagonist's guests, with what they lost."""
    base: list[Good] = []
    out = []
    for hog in hogs:
        ui.say(f"bench isolation: {pcpus} pCPUs, beside one that {kind.hogs[hog]}")
        goods, pages = run_case(hog, pcpus, secs, timeout, kind)
        base = base or goods
        for good, fair in zip(goods, base):
            loss = 1 - good.progress(pcpus) / max(1.0, fair.progress(pcpus))
            out.append({"pcpus": pcpus, "antagonist": hog, **asdict(good),
                        "progress": good.progress(pcpus), "reclaimed_pages": pages,
                        "loss": loss, "ok": loss <= LIMIT if pcpus == 1 else None})
        ui.say("  loss " + ", ".join(f"{100 * one['loss']:.2f}% of {one['name']}"
                                     for one in out[-len(goods):]) if hog != BASELINE
               else "  " + ", ".join(f"{one['units']} units of {one['name']}" for one in out))
    return out


def chart(results: list[dict[str, Any]], pcpus: int) -> dict[str, Any]:
    """Losses as bars."""
    mine = [one for one in results if one["pcpus"] == pcpus]
    hogs = list(dict.fromkeys(one["antagonist"] for one in mine))
    return {"kind": "bars", "title": f"Loss of a good guest beside an antagonist, {pcpus} pCPU"
            + ("s" if pcpus > 1 else ""), "x": "antagonist", "y": "loss, percent",
            "categories": hogs,
            "series": [{"name": name, "values": [
                next(100 * one["loss"] for one in mine
                     if one["antagonist"] == hog and one["name"] == name) for hog in hogs]}
                for name in dict.fromkeys(str(one["name"]) for one in mine)],
            "levels": [{"name": "limit", "y": 100 * LIMIT}]}


def parser() -> Parser:
    """The options."""
    out = Parser(prog="./xylem bench isolation", description=__doc__, epilog=EPILOG)
    out.add_argument("--pcpus", metavar="N[,N]", default="1", help="numbers of pCPUs (1)")
    out.add_argument("--linux", action="store_true",
                     help="Linux antagonists and a third good guest with Linux: some minutes")
    out.add_argument("--seconds", metavar="N",
                     help="guest time measured (4; with --linux: 16)")
    out.add_argument("--hog", metavar="NAME[,NAME]",
                     help="antagonists: " + " ".join(list(HOGS)[1:]) + " (all)")
    out.add_argument("--timeout", metavar="SECONDS", default="1200", help="of each run")
    out.add_argument("--json", metavar="FILE", help="write the results there")
    out.add_argument("--svg", metavar="FILE", help="draw them")
    return out


def choose(text: str | None, known: dict[str, str] = HOGS) -> list[str]:
    """The antagonists, the fair neighbour first."""
    names = text.split(",") if text else list(known)
    for name in names:
        if name not in known:
            raise UsageError(f"--hog: no antagonist '{name}' (one of: {' '.join(known)})")
    return [BASELINE, *(name for name in names if name != BASELINE)]


def main(argv: list[str]) -> int:
    """The command. JSON: linux; results[] with pcpus, antagonist, name, units, running_ns, progress,
    reclaimed_pages (most at once, swapped or in balloons), loss (a fraction of the progress beside
    'cpu') and ok (null: not judged); limit; ok; charts[]."""
    args = parser().parse_args(argv)
    kind = LINUX if args.linux else MINI
    secs = parse_int(args.seconds or ("16" if args.linux else "4"), "--seconds", 1, 1000)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)
    counts = [parse_int(word, "--pcpus", 1, 16) for word in args.pcpus.split(",")]
    if args.linux and counts != [1]:
        raise UsageError("--linux: on one pCPU only (--pcpus 1)")
    hogs = choose(args.hog, kind.hogs)
    results = [one for pcpus in counts for one in measure(hogs, pcpus, secs, timeout, kind)]
    print(report.render(["pCPUs", "beside", "good guest", "units", "units per CPU s", "loss"], [
        [str(one["pcpus"]), one["antagonist"], one["name"], f"{one['units']:,}",
         f"{one['units'] * 1e9 / max(1, one['running_ns']):,.0f}",
         "-" if one["antagonist"] == BASELINE else f"{100 * one['loss']:.2f}%"]
        for one in results]))
    charts = [chart(results, pcpus) for pcpus in counts]
    judged = [one for one in results if one["ok"] is not None]
    fine = all(one["ok"] for one in judged)
    if args.json:
        report.write_json(Path(args.json), {
            "schema": 1, "linux": args.linux, "seconds": secs, "icount_shift": ICOUNT_SHIFT, "limit": LIMIT, "ok": fine,
            "results": results, "charts": charts})
    if args.svg:
        report.write_text(Path(args.svg), svg.picture(charts))
    if judged:
        worst = max(one["loss"] for one in judged)
        print(f"bench isolation: the worst loss on one pCPU is {100 * worst:.2f}%, the limit "
              f"{100 * LIMIT:.0f}%: {'ok' if fine else 'FAILED'}", flush=True)
    return 0 if fine else 1
