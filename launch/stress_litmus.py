# SPDX-License-Identifier: MIT
"""Lock-free structures in all small executions; each ordering left out must be noticed."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launch import build, litmus, report, ui
from launch.errors import Parser, UsageError, XylemError
from launch.litmus_list import ELSEWHERE
from launch.tally import Tally
from launch.units import parse_int

WORDS = {
    "relax": "no memory order", "weaken": "acquire, release only",
    "again": "no second look", "skip": "the store left out",
    "split": "not atomic", "force": "the comparison left out",
}
EXECUTIONS = 10000


def intact(program: Path, names: list[str], most: int) -> list[dict[str, Any]]:
    """The intact core must pass each test."""
    out = []
    for name in names:
        begun = time.monotonic()
        _, text = litmus.run(program, ["--executions", str(most), name])
        found = litmus.results(text)
        if not found:
            raise XylemError(f"litmus {name}: no result\n{text}")
        out.append({"test": name, "fine": found[0][2] == "ok", "executions": int(found[0][3]),
                    "bound": int(found[0][4]), "seconds": round(time.monotonic() - begun, 2),
                    "wrong": litmus.explained(program, found[0][6] or "")})
    return out


def break_all(program: Path, names: list[str], most: int, every: bool,
              workers: int) -> list[dict[str, Any]]:
    """Every variant; of an end that was noticed no more unless 'every'."""
    variants = litmus.variants(program, names)
    ends: dict[tuple[str, str, str], list[litmus.Variant]] = {}
    for variant in variants:
        ends.setdefault(litmus.end_of(variant), []).append(variant)
    progress = ui.Progress()
    done = 0

    def judge(end: tuple[str, str, str]) -> list[dict[str, Any]]:
        nonlocal done
        out = []
        excused = litmus.excuse(end)
        for variant in [] if excused and not every else ends[end]:
            begun = time.monotonic()
            verdict = litmus.judge(program, variant, most)
            out.append({"edge": variant.name, "place": variant.place, "without": variant.wrong,
                        "tests": list(variant.tests), "caught_by": verdict.caught_by,
                        "how": litmus.explained(program, verdict.how),
                        "executions": verdict.executions,
                        "seconds": round(time.monotonic() - begun, 2)})
            if verdict.caught_by and not every:
                break
        if not any(one["caught_by"] for one in out) and excused:
            out.append({"edge": end[0], "place": f"{end[1]} {end[2]}", "excused": excused})
        done += 1
        return out

    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(judge, end) for end in ends]
        while not all(future.done() for future in running):
            progress.show(f"xylem: litmus: {done} of {len(ends)} ends of ordering edges")
            time.sleep(0.1)
    progress.clear()
    return [one for future in running for one in future.result()]


def check(tally: Tally, only: list[str], most: int = EXECUTIONS, every: bool = False,
          verbose: bool = True) -> dict[str, Any]:
    """Both halves, counted in the tally; the JSON document."""
    where = build.build("host", ["stress_litmus"], "the litmus tests")
    program = where / "stress" / "litmus" / "litmus"
    known = litmus.tests(program)
    for name in only:
        if name not in known:
            raise UsageError(f"--only: no litmus test '{name}' (one of: {' '.join(known)})")
    names = only or list(known)
    passed = intact(program, names, most)
    for one in passed:
        tally.add(f"{one['test']}: {known[one['test']]}: {one['executions']} executions, all with "
                  f"up to {one['bound']} deviations", one["fine"], one["wrong"],
                  quiet=not verbose)
    if not all(one["fine"] for one in passed):
        return {"intact": passed, "variants": []}
    results = break_all(program, names, most, every, min(2, os.cpu_count() or 1))
    ends: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in results:
        ends.setdefault((one["edge"], one["place"].replace(":", " ").split()[0] + " "
                         + one["place"].split()[-1]), []).append(one)
    rows = []
    for (edge, place), group in ends.items():
        caught = [one for one in group if one.get("caught_by")]
        excused = [one["excused"] for one in group if one.get("excused")]
        for one in caught:
            rows.append([edge, one["place"], WORDS[one["without"]], one["caught_by"],
                         f"{one['seconds']:.2f} s", one["how"].split(": ", 1)[-1][:44]])
        if excused:
            rows.append([edge, place, "", "not seen", "", excused[0][:44]])
        if caught or excused or not only:
            tally.add(f"{edge} at {place}", bool(caught or excused),
                      "\n".join(f"{WORDS[one['without']]}: not noticed by "
                                f"{', '.join(one['tests'])} in {one['executions']} executions"
                                for one in group if "without" in one), quiet=True)
        else:
            rows.append([edge, place, "", "not by these", "", ""])
    if verbose:
        print(report.render(["ordering edge", "place", "left out", "noticed by", "after", "how"],
                           rows))
    if not only:
        seen = {tag for one in results for tag in one["edge"].split(",")}
        missing = sorted(litmus.all_tags() - seen - set(ELSEWHERE))
        tally.add(f"all ordering edges of the core are made by a test ({len(seen)}), or covered "
                  f"elsewhere ({len(ELSEWHERE)})", not missing, " ".join(missing))
    return {"schema": 1, "intact": passed, "variants": results, "elsewhere": ELSEWHERE}


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem stress litmus", description=__doc__,
                    epilog="The core's own code runs under every memory outcome that C11 allows, "
                           "with up to two or three deviations from a plain run: see "
                           "stress/litmus/litmus.h. JSON: intact[] has test, fine, executions, "
                           "bound, seconds, wrong; variants[] has edge (its PAIRS tags), place, "
                           "without (relax, weaken, again, skip, split, force), caught_by, how, "
                           "executions, seconds, or excused; elsewhere{} has edges no test makes.")
    parser.add_argument("--only", metavar="NAME", action="append", default=[],
                        help="only this test and the edges that it makes (may be given again)")
    parser.add_argument("--all", action="store_true",
                        help="every way to break each edge, not only until one is noticed")
    parser.add_argument("--executions", metavar="N", default=str(EXECUTIONS),
                        help=f"the most that one exploration runs ({EXECUTIONS})")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    args = parser.parse_args(argv)
    tally = Tally()
    tally.group("litmus tests of the lock-free structures")
    document = check(tally, args.only, parse_int(args.executions, "--executions", 100, 10**9), args.all)
    if args.json:
        report.write_json(Path(args.json), document)
    return tally.finish()
