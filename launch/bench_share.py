# SPDX-License-Identifier: MIT
"""Merged pages per CPU second: Xylem's scanner against Linux KSM on the same images."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch import build, report, share_cost, ui
from launch.errors import Parser, UsageError, XylemError
from launch.units import parse_int

KSM = Path("/sys/kernel/mm/ksm")
MAP_COUNT = Path("/proc/sys/vm/max_map_count")
GOAL = 5.0
# What is best for KSM: no pauses, no limit, no advisor, zero pages without a search, and pages that
# have not changed skipped.
SETTINGS = {"sleep_millisecs": "0", "pages_to_scan": "1000000", "use_zero_pages": "1",
            "smart_scan": "1", "advisor_mode": "none"}


@dataclass
class Mix:
    """
    What the images are made of; see stress/share_bench.c.

    The length of runs matters to Xylem's side only: a host process maps run by run. Two Debian 6.1
    guests of 256 MiB with one initramfs, dumped in userspace, had 1,454 runs for 12,037 pages of
    the one that were in the other (47% of them at the same place) and 8,323 that were not: 0.12
    runs per merged page. Runs of 8 at other places in each image are somewhat more.
    """

    guests: int
    mib: int
    equal: int
    zero: int
    run: int
    scatter: bool
    seed: int
    writes: int

    def words(self) -> list[str]:
        """Arguments of the program."""
        return [str(int(value)) for value in asdict(self).values()]


def knob(path: Path) -> str:
    """The present value: of a list of words, the one in brackets."""
    text = path.read_text(encoding="ascii").strip()
    return text.split("[")[1].split("]")[0] if "[" in text else text


def others() -> list[str]:
    """Processes with memory that ksmd would scan as well; QEMU's is, unless told otherwise."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if "ksm_mergeable: yes" in (path / "ksm_stat").read_text(encoding="ascii"):
                found.append(f"{path.name} ({(path / 'comm').read_text().strip()})")
        except OSError:
            pass  # it has ended
    return found


def alone(wait: int) -> None:
    """Best is when ksmd has only our images to scan. Else its time for the others is not counted,
    but it takes long, and its trees are larger."""
    deadline = time.monotonic() + wait
    while (found := others()):
        if time.monotonic() >= deadline:
            ui.say("bench share: KSM also scans memory of " + ", ".join(found) +
                   " (QEMU: -machine mem-merge=off avoids it)")
            return
        time.sleep(0.2)


def ksmd() -> int:
    """The kernel thread's process id."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "comm").read_text(encoding="ascii") == "ksmd\n":
                return int(path.name)
        except OSError:
            pass  # it has ended
    raise XylemError("there is no ksmd")


def stop(*_: object) -> None:
    """SIGTERM: leave by way of the clean-up."""
    raise XylemError("terminated")


@contextmanager
def settings(maps: int) -> Iterator[dict[str, str]]:
    """KSM and the limit on mappings set for the run, and set back after it; yields what is set."""
    wanted = {KSM / name: value for name, value in SETTINGS.items() if (KSM / name).exists()}
    if not KSM.is_dir() or os.geteuid() != 0:
        raise UsageError("bench share needs root and a kernel with KSM (CONFIG_KSM)")
    if knob(KSM / "run") == "1" or knob(KSM / "pages_shared") != "0":
        raise UsageError("KSM is in use on this machine; bench share would disturb it")
    if int(knob(MAP_COUNT)) < maps:
        wanted[MAP_COUNT] = str(maps)
    before = {path: knob(path) for path in [*wanted, KSM / "run"]}
    thread = ksmd()
    priority = os.getpriority(os.PRIO_PROCESS, thread)
    handler = signal.signal(signal.SIGTERM, stop)
    try:
        # As high as ours, so that it gets on beside other work.
        os.setpriority(os.PRIO_PROCESS, thread,
                       min(priority, os.getpriority(os.PRIO_PROCESS, 0)))
        for path, value in wanted.items():
            path.write_text(value, encoding="ascii")
        yield {path.name: knob(path) for path in wanted if path.parent == KSM}
    finally:
        (KSM / "run").write_text("2", encoding="ascii")  # merge nothing, forget what was
        for path, value in before.items():
            path.write_text(value, encoding="ascii")
        os.setpriority(os.PRIO_PROCESS, thread, priority)
        signal.signal(signal.SIGTERM, handler)


def program(where: Path, words: list[str]) -> dict[str, Any]:
    """Run share_bench; its one line of results."""
    result = subprocess.run([str(where / "stress" / "share_bench"), *words], check=False,
                            stdout=subprocess.PIPE, text=True, timeout=1200)
    if result.returncode:
        raise XylemError(f"share_bench {' '.join(words)}: exit status {result.returncode}")
    data: dict[str, Any] = json.loads(result.stdout)
    if data.get("wrong"):
        raise XylemError(f"share_bench {' '.join(words)}: {data['wrong']} pages were wrong")
    return data


def per_cpu_s(data: dict[str, Any]) -> float:
    """Merged pages per CPU second."""
    return float(data["merged"] / data["cpu_s"])


def compare(where: Path, mix: Mix, rounds: int, wait: int) -> dict[str, Any]:
    """Both, in turns; the ratio is the median of the rounds'."""
    runs: list[dict[str, Any]] = []
    while len(runs) < rounds:
        alone(wait)
        ksm = program(where, ["ksm", *mix.words()])
        xylem = program(where, ["xylem", *mix.words()])
        runs.append({"ksm": ksm, "xylem": xylem, "ratio": per_cpu_s(xylem) / per_cpu_s(ksm)})
        ui.say(f"  round {len(runs)}: KSM {per_cpu_s(ksm):,.0f}, Xylem {per_cpu_s(xylem):,.0f} pages "
               f"per CPU second: {runs[-1]['ratio']:.2f}")

    return summary(mix, runs)


def vain(ksm: dict[str, Any]) -> float | None:
    """Share of the pages KSM scanned that it did not merge; those that it saw again and again and
    those of other processes are among them. None: this kernel does not count."""
    return 1 - ksm["merged"] / ksm["scanned"] if ksm.get("scanned") else None


def summary(mix: Mix, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds."""
    def median(side: str) -> float:
        return statistics.median(per_cpu_s(run[side]) for run in runs)

    lost = [share for run in runs if (share := vain(run["ksm"])) is not None]
    return {"mix": asdict(mix), "merge_ratio": statistics.median(run["ratio"] for run in runs),
            "xylem_merged_per_cpu_s": median("xylem"), "ksm_merged_per_cpu_s": median("ksm"),
            "remaps_per_merged_page": statistics.median(
                run["xylem"]["remaps"] / run["xylem"]["merged"] for run in runs),
            "xylem_guessed_share": statistics.median(
                run["xylem"]["guessed"] / run["xylem"]["merged"] for run in runs),
            "ksm_vain_scans": statistics.median(lost) if lost else None,
            "rounds": runs}


def rates(where: Path, mix: Mix) -> dict[str, float]:
    """Hashing every page against reading it, bytes per CPU second of one core."""
    data = program(where, ["rates", *mix.words()])
    return {"scan_bandwidth": data["hash_bytes_s"], "read_bandwidth": data["read_bytes_s"],
            "scan_bandwidth_cached": data["hash_cached_bytes_s"],
            "read_to_scan": data["read_bytes_s"] / data["hash_bytes_s"]}


def mixes(args: Any) -> dict[str, Mix]:
    """The images asked for, and variants of them."""
    base = Mix(parse_int(args.guests, "--guests", 2, 16), parse_int(args.mib, "--mib", 2, 1024),
               parse_int(args.equal, "--equal", 0, 100), parse_int(args.zero, "--zero", 0, 100),
               parse_int(args.run, "--run", 1, 512), bool(args.scatter),
               parse_int(args.seed, "--seed", 0, 10**17),
               parse_int(args.writes, "--writes", 0, 1000000))
    if base.zero > base.equal:
        raise UsageError("--zero is part of --equal and cannot be more")
    found = {"asked": base}
    if args.variants != "0":
        for run, scatter in ((1, False), (16, False), (1, True), (16, True)):
            found[f"run {run}{', scattered' if scatter else ''}"] = Mix(
                base.guests, base.mib, base.equal, base.zero, run, scatter, base.seed,
                base.writes)
    return found


def against_ksm(where: Path, wanted: dict[str, Mix], rounds: tuple[int, int],
                wait: int) -> dict[str, Any]:
    """The images asked for, which give the figures at the top, and the variants; rounds of each."""
    pages = max(mix.guests * mix.mib * 256 for mix in wanted.values())
    with settings(2 * pages + 65536) as ksm:
        ui.say("bench share: KSM with " + " ".join(f"{k}={v}" for k, v in ksm.items()))
        found = {}
        for name, mix in wanted.items():
            ui.say(f"bench share: {name}: {mix}")
            found[name] = compare(where, mix, rounds[name != "asked"], wait)
    return {**found["asked"], "ksm_settings": ksm, "mixes": found}


def check_merged(data: dict[str, Any], writes: int) -> None:
    """All that can be merged has been; a page that a writer has changed need not be."""
    least = data["best"] if not writes else data["best"] * 9 // 10
    if not least <= data["merged"] <= data["best"]:
        raise XylemError(f"{data['merged']} of {data['best']} pages were merged")


def one_side(where: Path, mix: Mix) -> dict[str, Any]:
    """Without KSM: are the pages merged, and is every byte right? Without a writer, to the page."""
    data = program(where, ["xylem", *mix.words()])
    check_merged(data, mix.writes)
    return {"mix": asdict(mix), "xylem_merged_per_cpu_s": per_cpu_s(data), "xylem": data}


def show(data: dict[str, Any]) -> None:
    """What was measured, in words."""
    if "mixes" in data:
        rows = [[name, f"{one['ksm_merged_per_cpu_s']:,.0f}",
                 f"{one['xylem_merged_per_cpu_s']:,.0f}", f"{one['merge_ratio']:.2f}",
                 f"{one['remaps_per_merged_page']:.2f}", f"{one['xylem_guessed_share']:.0%}",
                 "-" if one["ksm_vain_scans"] is None else f"{one['ksm_vain_scans']:.0%}"]
                for name, one in data["mixes"].items()]
        print(report.render(["images", "KSM", "Xylem", "ratio", "mmap/page", "guessed",
                             "KSM's vain scans"], rows))
        print(f"merged pages per CPU second; goal: ratio {GOAL:g}. mmap/page: calls of mmap() per "
              "merged page; guessed: of Xylem's merged pages, those found without a hash")
    if "xylem" in data:
        print(f"{data['xylem']['merged']} of {data['xylem']['best']} pages merged, "
              f"{data['xylem_merged_per_cpu_s']:,.0f} per CPU second; all bytes right")
    if "scan_bandwidth" in data:
        print(f"hashing {data['scan_bandwidth'] / 1e9:.2f} GB/s, reading "
              f"{data['read_bandwidth'] / 1e9:.2f} GB/s: {data['read_to_scan']:.2f} times; goal: 2")
    if "instructions_per_look" in data:
        print(f"in the hypervisor: {data['instructions_per_scanned_page']:,.0f} instructions per "
              f"scanned page, {data['instructions_per_merged_page']:,.0f} per merged page, "
              f"{data['instructions_per_look']:,.0f} per look at a name")


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench share", description=__doc__,
                    epilog="Needs root: it sets KSM's parameters and sets them back.")
    parser.add_argument("--guests", metavar="N", default="4", help="images (4)")
    parser.add_argument("--mib", metavar="N", default="128", help="MiB of each (128)")
    parser.add_argument("--equal", metavar="PERCENT", default="75",
                        help="pages equal in all images (75)")
    parser.add_argument("--zero", metavar="PERCENT", default="5", help="of all, zero pages (5)")
    parser.add_argument("--run", metavar="PAGES", default="8",
                        help="pages of one kind come in runs of this length or a multiple (8)")
    parser.add_argument("--scatter", action=argparse.BooleanOptionalAction, default=True,
                        help="equal runs are at other places in each image (they are)")
    parser.add_argument("--variants", metavar="N", default="1",
                        help="repetitions with other run lengths and places; 0: none (1)")
    parser.add_argument("--writes", metavar="N", default="1000",
                        help="pages per second that the writer changes and checks (1000)")
    parser.add_argument("--rounds", metavar="N", default="3", help="repetitions (3)")
    parser.add_argument("--wait", metavar="SECONDS", default="0",
                        help="at most, for other processes with mergeable memory to end (0)")
    parser.add_argument("--seed", metavar="S", default="1", help="of the images (1)")
    parser.add_argument("--only", choices=("ksm", "xylem", "rates", "hypervisor"),
                        help="against KSM; Xylem's side alone; hashing against reading; "
                             "instructions under QEMU")
    parser.add_argument("--timeout", metavar="SECONDS", default="600", help="of each QEMU run")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    args = parser.parse_args(argv)
    timeout = parse_int(args.timeout, "--timeout", 1, 86400)
    wanted = mixes(args)
    rounds = (parse_int(args.rounds, "--rounds", 1, 100),
              parse_int(args.variants, "--variants", 0, 100))
    wait = parse_int(args.wait, "--wait", 0, 86400)
    data: dict[str, Any] = {"schema": 1, "goal": GOAL}
    if args.only != "hypervisor":
        where = build.build("host", ["stress_share_bench"], "the sharing benchmark")
    if args.only in (None, "ksm"):
        data |= against_ksm(where, wanted, rounds, wait)
    if args.only == "xylem":
        data |= one_side(where, wanted["asked"])
    if args.only in (None, "rates"):
        data |= rates(where, wanted["asked"])
    if args.only in (None, "hypervisor"):
        data |= share_cost.measure(timeout)
    show(data)
    if args.json:
        report.write_json(Path(args.json), data)
    return 0
