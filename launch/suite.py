# SPDX-License-Identifier: MIT
"""Run for long, with everything verified: the stress suite."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import report, suite_host, suite_qemu, ui
from launch.errors import Parser, UsageError, XylemError
from launch.suite_result import Job, Result
from launch.units import parse_int

EPILOG = """\
Parts inside QEMU are mini guests and, in memory and mix, Linux guests, beside one that checks its
own memory; parts named host-... run the same core on threads, plain and under the sanitizers
(--san). The time is shared over the parts. One seed gives the same operations of each thread and
vCPU; how they interleave differs from run to run.

Stress runs of their own: ./xylem stress litmus, many, mem or torture; ./xylem stress NAME --help.
"""


@dataclass
class Part:
    """One entry of the table of parts."""

    name: str
    what: str
    run: Callable[[Job], Result]
    least: int = 5  # seconds
    sans: tuple[str, ...] = field(default=("",))  # host parts: one run for each


def parts(sans: tuple[str, ...]) -> list[Part]:
    """Every part, in the order in which they run."""
    found = [Part(name, (run.__doc__ or "").strip().splitlines()[0], run, least)
             for name, (run, least) in suite_qemu.PARTS.items()]
    found += [Part(name, suite_host.TITLES[name], run, 3, sans)
              for name, run in suite_host.PARTS.items()]
    return found


def seed_of(seed: int, part: str) -> int:
    """A part's own seed: the same whichever other parts run."""
    digest = hashlib.sha256(f"{seed}/{part}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def choose(only: list[str], known: list[Part]) -> list[Part]:
    """The parts that --only names (a name that is the beginning of several stands for all)."""
    names = [word for text in only for word in text.split(",") if word]
    for name in names:
        if not any(part.name.startswith(name) for part in known):
            raise UsageError(f"--only: no part '{name}' "
                             f"(one of: {' '.join(part.name for part in known)})")
    exact = {part.name for part in known}
    return [part for part in known if not names or any(
        part.name == name or (name not in exact and part.name.startswith(name))
        for name in names)]


def shares(chosen: list[Part], seconds: int) -> dict[str, int]:
    """Seconds of each run of each part; no part gets less than it needs."""
    runs = sum(len(part.sans) for part in chosen)
    return {part.name: max(part.least, seconds // max(1, runs)) for part in chosen}


def rows(results: list[Result]) -> list[list[str]]:
    """The summary table's rows."""
    return [[result.part + (f" ({result.san})" if result.san else ""),
             "ok" if result.ok else "FAILED", f"{result.seconds:.0f}", f"{result.operations:,}",
             f"{result.refused:,}" if result.refused else "-",
             str(result.errnos) if result.errnos else "-",
             " ".join(f"{count} {state}" for state, count in sorted(result.ends.items())) or "-",
             result.note] for result in results]


def replay(result: Result, seed: int) -> str:
    """The command that does it once more."""
    return (f"./xylem stress --only {result.part} --seed {seed} "
            f"--seconds {max(1, round(result.asked))}"
            + (f" --san {result.san}" if result.san else ""))


def run_part(part: Part, san: str, seconds: int, seed: int) -> Result:
    """One run of one part; errors become its failure."""
    start = time.monotonic()
    job = Job(part.name, seconds, seed_of(seed, part.name), san)
    try:
        result = part.run(job)
    except XylemError as error:
        result = job.result()
        result.wrong.append(str(error))
    result.seconds = time.monotonic() - start
    return result


def document(results: list[Result], seed: int, seconds: int) -> dict[str, Any]:
    """The JSON form: parts[] with name, sanitizer, seed, seconds, operations, refused, errno_kinds,
    ends (guest ends by kind), ok, wrong[] and replay (the command that repeats it)."""
    return {"schema": 1, "seed": seed, "seconds": seconds,
            "ok": all(result.ok for result in results),
            "parts": [{"name": result.part, "sanitizer": result.san or None,
                       "seed": seed_of(seed, result.part), "seconds": round(result.seconds, 1),
                       "operations": result.operations, "refused": result.refused,
                       "errno_kinds": result.errnos, "ends": result.ends, "note": result.note,
                       "ok": result.ok, "wrong": result.wrong, "replay": replay(result, seed)}
                      for result in results]}


def parser(known: list[Part]) -> Parser:
    """The options."""
    out = Parser(prog="./xylem stress", description=__doc__, epilog=EPILOG)
    out.add_argument("--minutes", metavar="N", help="how long, all parts together (4)")
    out.add_argument("--seconds", metavar="N", help="the same in seconds")
    out.add_argument("--seed", metavar="S", help="default: from the time of day")
    out.add_argument("--only", metavar="NAME[,NAME]", action="append", default=[],
                     help="these parts: " + " ".join(part.name for part in known))
    out.add_argument("--san", metavar="KIND[,KIND]", default=",".join(suite_host.SANS),
                     help=f"builds of the host parts ({','.join(suite_host.SANS)})")
    out.add_argument("--list", action="store_true", help="say what each part does")
    out.add_argument("--json", metavar="FILE", help="write the results there")
    return out


def main(argv: list[str]) -> int:
    """The command."""
    args = parser(parts(suite_host.SANS)).parse_args(argv)
    sans = tuple(word for word in args.san.split(",") if word)
    for san in sans:
        if san not in suite_host.SANS:
            raise UsageError(f"--san: no build '{san}' (one of: {' '.join(suite_host.SANS)})")
    chosen = choose(args.only, parts(sans))
    if args.list:
        for part in chosen:
            print(f"{part.name:16} {part.what}")
        return 0
    seconds = (parse_int(args.seconds, "--seconds", 1, 10**6) if args.seconds
               else 60 * parse_int(args.minutes or "4", "--minutes", 1, 10**4))
    seed = parse_int(args.seed or str(int(time.time())), "--seed", 0, 10**15)
    print(f"seed {seed}", flush=True)
    each = shares(chosen, seconds)
    results = []
    for part in chosen:
        for san in part.sans:
            ui.say(f"stress: {part.name}{f' ({san})' if san else ''}, {each[part.name]} s: "
                   f"{part.what}")
            result = run_part(part, san, each[part.name], seed)
            results.append(result)
            for text in result.wrong:
                print(f"stress: {part.name}: {text}", flush=True)
            if not result.ok:
                print(f"stress: again with: {replay(result, seed)}", flush=True)
    print(report.render(["part", "result", "seconds", "operations", "refused", "errno kinds",
                         "guest ends", ""], rows(results)))
    if args.json:
        report.write_json(Path(args.json), document(results, seed, seconds))
    bad = [result for result in results if not result.ok]
    print(f"stress: seed {seed}: {len(results) - len(bad)} passed, {len(bad)} failed", flush=True)
    return 1 if bad else 0
