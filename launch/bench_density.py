# SPDX-License-Identifier: MIT
"""Many guests on one host: throughput against the ideal, wake-up latency, memory per domain."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import build, density_linux, guestspec, minis, report, svg, ui
from launch.errors import Parser, UsageError, XylemError
from launch.machine import Options
from launch.memory import Sample
from launch.units import parse_int

ICOUNT_SHIFT = 4  # one instruction is 16 ns
MEM = "4M"  # of each mini guest
GOAL_KIB = 64  # hypervisor memory of an idle mini domain is below that, or it is an error
PERIOD_MS = 5000  # between two rounds of a guest that mostly sleeps: 1000 of them take a fifth
START_S = 0.012  # of system time, for each guest to start
ALLOWANCE_US = 5000  # the scheduler's context-switch allowance C, its default
BASE = 2  # idle guests that are there before those whose memory is counted


@dataclass
class Run:
    """What the guests of one boot printed, and the memory samples."""

    lines: dict[str, list[str]]
    samples: list[Sample]
    mem: int  # bytes of the machine

    def passed(self, name: str) -> dict[str, int]:
        """The numbers of a guest's last line."""
        for text in self.lines.get(name, ()):
            if text.startswith("mini: PASS"):
                return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}
        raise XylemError(f"{name} did not end well: {self.lines.get(name, ['no output'])[-1]}")


def boot(pcpus: int, guests: list[str], label: str, timeout: float,
         settings: dict[str, str] | None = None, mem: int = 0) -> Run:
    """Boot the guests under -icount, in a machine with memory for all."""
    progress = ui.Progress()

    def watch(lines: dict[str, list[str]]) -> None:
        done = sum(any(text.startswith("mini: PASS") for text in of) for of in lines.values())
        progress.show(f"xylem: {label}: {len(lines)} guests have started, {done} have ended")

    try:
        ran = minis.run(build.hypervisor(), guestspec.expand(guests, pcpus),
                        Options(pcpus, mem, icount=True, icount_shift=ICOUNT_SHIFT), timeout,
                        {"share.rate": "0", "mem.record_ms": "0", **(settings or {})}, watch)
    except XylemError as error:
        raise XylemError(f"{label}: {error}") from None
    finally:
        progress.clear()
    return Run(ran.lines, ran.results.memory.series, ran.mem)


def start_s(guests: int) -> int:
    """System time at which all of them have started."""
    return 2 + int(guests * START_S)


def busy(guests: int, pcpus: int, secs: int, timeout: float) -> dict[str, Any]:
    """So many guests that are always busy, and one that sleeps and wakes."""
    start = start_s(guests)
    # One that may overtake the busy ones by its warp, as a guest that serves a device would.
    wake = (f'mini-wake,name=io,mem={MEM},warp={4 * ALLOWANCE_US}:{ALLOWANCE_US}:0,'
            f'cmdline="period_us=7000 count={secs * 100} from={start}"')
    run = boot(pcpus, [f'mini-busy:{guests},name=busy,mem={MEM},'
                       f'cmdline="from={start} secs={secs} tail=1"', wake],
               f"{guests} busy guests", timeout)
    names = ["busy"] if guests == 1 else [f"busy{i + 1}" for i in range(guests)]
    each = [run.passed(name) for name in names]
    late = run.passed("io")
    rounds = [one["rounds"] for one in each]
    return {"guests": guests, "rounds": sum(rounds), "least": min(rounds), "most": max(rounds),
            "wake_p50_us": late["p50_ns"] / 1000, "wake_p99_us": late["p99_ns"] / 1000}


def throughput(counts: list[int], pcpus: int, secs: int, timeout: float) -> list[dict[str, Any]]:
    """Work done by more and more busy guests, against what one alone does on each pCPU."""
    out = []
    alone = 0
    for guests in counts:
        one = busy(guests, pcpus, secs, timeout)
        alone = alone or one["rounds"]
        ideal = alone * min(guests, pcpus)
        out.append({**one, "ideal": ideal, "ratio": one["rounds"] / ideal})
    return out


def sleepers(guests: int, pcpus: int, timeout: float) -> dict[str, Any]:
    """So many guests that each wake up once a period, twice, and do one round of work."""
    start, secs = start_s(guests), 2 * PERIOD_MS // 1000
    run = boot(pcpus, [f'mini-busy:{guests},name=mini,mem={MEM},'
                       f'cmdline="from={start} secs={secs} period_ms={PERIOD_MS}"'],
               f"{guests} mini guests", timeout)
    names = ["mini"] if guests == 1 else [f"mini{i + 1}" for i in range(guests)]
    each = [run.passed(name) for name in names]
    rounds, wanted = (sum(one[key] for one in each) for key in ("rounds", "wanted"))
    p50, p99 = (sorted(one[key] / 1000 for one in each) for key in ("p50_ns", "p99_ns"))
    return {"guests": guests, "period_ms": PERIOD_MS, "rounds": rounds, "ideal": wanted,
            "ratio": rounds / wanted, "wake_p50_us": p50[len(p50) // 2],
            "wake_p99_us": p99[len(p99) * 99 // 100], "wake_max_us":
            max(one["max_ns"] for one in each) / 1000}


def _sample(run: Run, guests: int) -> Sample:
    """The last moment at which all of them were there."""
    good = [one for one in run.samples if len(one.guests) == guests]
    if not good:
        raise XylemError(f"no memory sample with all {guests} guests")
    return good[-1]


def memory(guests: int, timeout: float) -> dict[str, Any]:
    """Frames that the hypervisor has for each idle guest more, beyond the guest's own pages."""
    def idle(count: int, mem: int = 0) -> Run:
        secs = start_s(count) + 4
        return boot(1, [f'mini-idle:{count},name=idle,mem={MEM},cmdline="secs={secs}"'],
                    f"{count} idle guests", timeout, {"mem.record_ms": "500"}, mem)

    run = idle(BASE + guests)
    many = _sample(run, BASE + guests)
    # The same machine: what depends on its memory only is no domain's.
    few = _sample(idle(BASE, run.mem), BASE)
    one = next(iter(many.guests.values()))
    own = sum(row["allocated"] for row in many.guests.values()) \
        - sum(row["allocated"] for row in few.guests.values())
    used = many.total["used"] - few.total["used"]
    kinds = {"page tables": one["tables"], "P2M and reverse map": one["records"],
             "shared_info": one["overhead"] - one["tables"] - one["records"]}
    total = (used - own) / guests
    kinds["domain, vCPU, event channels"] = round(total - sum(kinds.values()), 3)
    return {"guests": guests, "frames": total, "kib": total * 4, "goal_kib": GOAL_KIB,
            "own_frames": own / guests, "kinds": kinds}


def throughput_chart(of: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Work against the ideal, by the number of guests."""
    return {"title": f"Throughput of {of}", "x": "guests", "y": "of the ideal",
            "ymin": 0, "ymax": 1.1, "levels": [{"name": "ideal", "y": 1}],
            "series": [{"name": "measured", "marks": True,
                        "points": [[row["guests"], row["ratio"]] for row in rows]}]}


def charts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The experiment's pictures."""
    out: list[dict[str, Any]] = []
    rows = data.get("busy", [])
    if len(rows) > 1:
        out.append(throughput_chart("busy guests", rows))
        out.append({"title": "Wake-up latency beside them", "x": "guests", "y": "us",
                    "series": [{"name": key, "marks": True, "points":
                                [[row["guests"], row[f"wake_{key}_us"]] for row in rows]}
                               for key in ("p50", "p99")]})
    linux = data.get("linux", [])
    if len(linux) > 1:
        out.append(throughput_chart("busy Linux guests", linux))
    kinds = data.get("memory", {}).get("kinds", {})
    if kinds:
        out.append({"title": "Hypervisor memory of an idle mini domain", "x": "", "y": "KiB",
                    "kind": "bars", "categories": list(kinds),
                    "series": [{"name": "frames", "values": [4 * n for n in kinds.values()]}]})
    return out


def show(data: dict[str, Any]) -> None:
    """The tables."""
    rows = [[f"{row['guests']} busy", f"{row['rounds']}", f"{row['ratio'] * 100:.1f}%",
             f"{row['wake_p50_us']:.1f} us", f"{row['wake_p99_us']:.1f} us"]
            for row in data.get("busy", [])]
    mini = data.get("minis")
    if mini:
        rows.append([f"{mini['guests']} that sleep", f"{mini['rounds']}",
                     f"{mini['ratio'] * 100:.1f}%", f"{mini['wake_p50_us']:.1f} us",
                     f"{mini['wake_p99_us']:.1f} us"])
    if rows:
        print(report.render(["guests", "rounds", "of the ideal", "wake-up p50", "p99"], rows))
    if data.get("linux"):
        print(report.render(density_linux.HEAD, density_linux.rows(data["linux"])))
    found = data.get("memory")
    if found:
        print(report.render(
            ["frames of an idle mini domain", "each", "KiB"],
            [[name, f"{n:g}", f"{4 * n:g}"] for name, n in found["kinds"].items()]
            + [["all", f"{found['frames']:.2f}", f"{found['kib']:.1f}"]]))


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench density", description=__doc__,
                    epilog="Under -icount. The busy guests are mini guests: they compute, map and "
                           "unmap pages by mmu_update, flush and take a timer tick, all in kernel "
                           "mode: no user processes, system calls, faults or switches. --linux boots Debian's kernel instead: processes, "
                           "programs, system calls, page faults, pipes and switches, timers; it "
                           "takes some 10 s of a core for each guest. JSON: busy[] "
                           "has guests, rounds, ideal, ratio, least and most rounds of one, "
                           "wake_p50_us and wake_p99_us of a guest that sleeps beside them; minis "
                           "the same for guests that sleep; memory has frames and kib per idle "
                           "domain and kinds{}; linux[] has guests, units, units_per_s, "
                           "ideal_per_s, ratio, least and most units of one, seconds (measured), "
                           "ready_ms (when the last was up), wall_s and memory{} of the host.")
    parser.add_argument("--busy", metavar="N", help="most busy mini guests (128); 0: none")
    parser.add_argument("--linux", metavar="N", default="0",
                        help="compare so many busy Linux guests with one (0); "
                             "leaves out the mini guests unless these are asked for as well")
    parser.add_argument("--mini", metavar="N",
                        help="mini guests that mostly sleep, and idle ones (1000); 0: none")
    parser.add_argument("--pcpus", metavar="N", default="1", help="physical CPUs (1)")
    parser.add_argument("--seconds", metavar="N", default="4",
                        help="system time that is measured (4)")
    parser.add_argument("--small", action="store_true",
                        help="8 busy and 64 mini guests")
    parser.add_argument("--timeout", metavar="SECONDS", default="1800", help="per boot")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--svg", metavar="FILE", help="draw them there")
    args = parser.parse_args(argv)
    linux = parse_int(args.linux, "--linux", 0, 500)
    most, many = ("8", "64") if args.small else ("0", "0") if linux else ("128", "1000")
    most_busy = parse_int(args.busy or most, "--busy", 0, 500)
    mini = parse_int(args.mini or many, "--mini", 0, 1000)
    pcpus = parse_int(args.pcpus, "--pcpus", 1, 64)
    secs = parse_int(args.seconds, "--seconds", 1, 1000)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)

    data: dict[str, Any] = {"schema": 1, "pcpus": pcpus, "seconds": secs,
                            "icount_shift": ICOUNT_SHIFT, "mem_mib": int(MEM[:-1])}
    if linux and pcpus > 1:
        raise UsageError("--linux: the measured time is of one pCPU")
    if linux:
        data["linux"] = density_linux.throughput([1] * (linux > 1) + [linux], secs, timeout)
    if most_busy:
        counts = [1 << i for i in range(12) if 1 << i < most_busy] + [most_busy]
        data["busy"] = throughput(counts, pcpus, secs, timeout)
    if mini:
        data["minis"] = sleepers(mini, pcpus, timeout)
        data["memory"] = memory(mini, timeout)
    show(data)
    data["charts"] = charts(data)
    if args.json:
        report.write_json(Path(args.json), data)
    if args.svg:
        report.write_text(Path(args.svg), svg.picture(data["charts"]))
    kib = data["memory"]["kib"] if mini else 0
    if kib >= GOAL_KIB:
        ui.say(f"an idle mini domain takes {kib:.1f} KiB of the hypervisor's memory: not below "
               f"{GOAL_KIB}")
    return 0 if kib < GOAL_KIB else 1
