# SPDX-License-Identifier: MIT
"""BVT: shares by weight, balance over pCPUs, wake-up latency; deterministic under -icount."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import build, guestspec, minis, report, ui
from launch.errors import Parser, XylemError
from launch.machine import Options
from launch.units import parse_int

WEIGHTS = (256, 512, 1024)  # 1:2:4
ALLOWANCE_US = 5000  # the scheduler's context-switch allowance C, its default
FROM_S = 1  # system time at which all burners have started
ICOUNT_SHIFT = 4  # one instruction is 16 ns: 10 s take 625 million instructions per pCPU


@dataclass
class Burner:
    """One measured burner."""

    name: str
    weight: int
    share: float  # of one pCPU
    ideal: float

    @property
    def error(self) -> float:
        """Relative deviation from the ideal share."""
        return abs(self.share / self.ideal - 1)


@dataclass
class Case:
    """One experiment's guests and what they printed."""

    pcpus: int
    guests: list[str]
    lines: dict[str, list[str]] = field(default_factory=dict)


def run_case(case: Case, timeout: float) -> None:
    """Boot the guests and keep each one's console."""
    guests = [guestspec.parse_guest(text, case.pcpus)[0] for text in case.guests]
    options = Options(case.pcpus, 0, icount=True, icount_shift=ICOUNT_SHIFT)
    case.lines = minis.run(build.hypervisor(), guests, options, timeout).lines


def burners(case: Case, total: int) -> list[Burner]:
    """Shares of all burners; @total is the weight that shares all pCPUs."""
    out = []
    for text in case.guests:
        guest, _ = guestspec.parse_guest(text, case.pcpus)
        if guest.role != "burn":
            continue
        found = [match for line in case.lines.get(guest.name, ())
                 if (match := re.search(r"PASS role=burn .*share_ppm=(\d+)", line))]
        if not found:
            raise XylemError(f"{guest.name} reported no share")
        out.append(Burner(guest.name, guest.weight, int(found[0][1]) / 1e6,
                          guest.weight * case.pcpus / total))
    return out


def burn(name: str, weight: int, secs: int, extra: str = "") -> str:
    """A --guest word for one burner."""
    return (f"mini-burn,name={name},weight={weight}{extra},"
            f'cmdline="from={FROM_S} secs={secs} tail=1"')


def shares(secs: int, timeout: float) -> dict[str, Any]:
    """Weights 1:2:4 on one pCPU."""
    case = Case(1, [burn(f"w{weight}", weight, secs) for weight in WEIGHTS])
    run_case(case, timeout)
    return result(burners(case, sum(WEIGHTS)), 0.01)


def balance(secs: int, timeout: float) -> dict[str, Any]:
    """Twelve unpinned burners, four of each weight, on 4 pCPUs."""
    case = Case(4, [burn(f"w{weight}-{i}", weight, secs)
                    for i in range(4) for weight in WEIGHTS])
    run_case(case, timeout)
    return result(burners(case, 4 * sum(WEIGHTS)), 0.05)


def latency(secs: int, timeout: float) -> dict[str, Any]:
    """A warped vCPU that sleeps and wakes, against two burners on one pCPU."""
    count = secs * 100
    wake = (f'mini-wake,name=io,warp={4 * ALLOWANCE_US}:{ALLOWANCE_US}:0,'
            f'cmdline="period_us=7000 count={count} work=200"')
    case = Case(1, [burn("b1", 256, secs), burn("b2", 256, secs), wake])
    run_case(case, timeout)
    for line in case.lines.get("io", ()):
        match = re.search(r"p50_ns=(\d+) p99_ns=(\d+) max_ns=(\d+)", line)
        if match:
            p50, p99, top = (int(value) / 1000 for value in match.groups())
            return {"wakeups": count, "p50_us": p50, "p99_us": p99, "max_us": top,
                    "allowance_us": ALLOWANCE_US, "ok": p99 < ALLOWANCE_US}
    raise XylemError("the waking guest reported nothing")


def result(found: list[Burner], limit: float) -> dict[str, Any]:
    """The JSON form of one share experiment."""
    worst = max(burner.error for burner in found)
    return {"limit": limit, "worst_error": worst, "ok": worst <= limit,
            "guests": [{"name": burner.name, "weight": burner.weight, "share": burner.share,
                        "ideal": burner.ideal, "error": burner.error} for burner in found]}


CASES = {"shares": shares, "balance": balance, "latency": latency}


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench sched", description=__doc__)
    parser.add_argument("--seconds", metavar="N", default="10",
                        help="guest time measured in each experiment (10)")
    parser.add_argument("--only", choices=tuple(CASES), help="run only one experiment")
    parser.add_argument("--timeout", metavar="SECONDS", default="1200", help="per experiment")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    args = parser.parse_args(argv)
    secs = parse_int(args.seconds, "--seconds", 1, 1000)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)

    data: dict[str, Any] = {"schema": 1, "seconds": secs, "icount_shift": ICOUNT_SHIFT}
    rows = []
    for name, run in CASES.items():
        if args.only and name != args.only:
            continue
        ui.say(f"bench sched: {(run.__doc__ or '').strip()}")
        data[name] = run(secs, timeout)
        rows += table_rows(name, data[name])
    print(report.render(["experiment", "guest", "measured", "ideal", "off by"], rows))
    if args.json:
        report.write_json(Path(args.json), data)
    return 0 if all(data[name]["ok"] for name in CASES if name in data) else 1


def table_rows(name: str, data: dict[str, Any]) -> list[list[str]]:
    """Rows of the printed table."""
    if name == "latency":
        return [[name, "io", f"p99 {data['p99_us']:.1f} us",
                 f"< {data['allowance_us']} us", "ok" if data["ok"] else "too late"]]
    return [[name, guest["name"], f"{guest['share']:.4f}", f"{guest['ideal']:.4f}",
             f"{guest['error'] * 100:.2f}%"] for guest in data["guests"]]
