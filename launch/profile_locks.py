# SPDX-License-Identifier: MIT
"""Contention: every CAS-retry loop and wait of a run, by pCPU and call path."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from launch import build, contention, flame, ksyms, report, run, ui
from launch.errors import Parser, UsageError, XylemError
from launch.units import parse_seconds

SECONDS = "20"
LOAD = ["linux,vcpus=4,mem=512M,cmdline=xylem.task=stress=600",
        "mini-pattern:2,vcpus=2,cmdline=pages=1000 secs=600 pause_ms=50",
        "mini-smp:2,vcpus=4", "mini-wake:2"]

EPILOG = """\
All options of ./xylem run describe the machine and its guests (./xylem run
--help). Without --guest: stress-ng on a Debian guest of 4 vCPUs beside mini
guests that share pages, start vCPUs and wake each other, on 4 pCPUs.

An acquisition is one way through a CAS-retry loop or one wait for other pCPUs;
it is contended when an attempt in it failed. The wait is the time from the first
failure to its end. The hypervisor has no lock that could be held: ./xylem test
--only source finds any.

The JSON file (schema 1): tsc_hz, pcpus, t_ns (of the report, ns since boot);
sites[]: name, kind (cas, wait), file, line, function, acquisitions,
contended, retries, wait_cycles and the same for each pCPU in per_pcpu[] with its
number cpu; calls[]: site, stack (function names, from outside in), addresses (from inside out), contended,
retries, wait_cycles; run: what ./xylem run --json has.
"""


def parser() -> Parser:
    """The command's own options."""
    out = Parser(prog="./xylem profile locks", description=__doc__, epilog=EPILOG,
                 formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    out.add_argument("--for", dest="seconds", metavar="SECONDS",
                     help=f"end the guests after this long ({SECONDS} without --guest)")
    out.add_argument("--all", action="store_true", help="also list sites never contended")
    out.add_argument("--json", metavar="FILE", help="write the counts there")
    out.add_argument("--svg", metavar="FILE",
                     help="draw the waits by call path as a flame graph (retries when no "
                     "time was measured)")
    out.add_argument("--diff", nargs=2, metavar=("A.json", "B.json"),
                     help="run nothing, compare two files")
    return out


def load(name: str) -> dict[str, Any]:
    """A file that --json wrote."""
    try:
        data = json.loads(Path(name).read_text())
    except OSError as error:
        raise UsageError(f"--diff: {name}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--diff: {name} is not a JSON file") from None
    if not isinstance(data, dict) or data.get("schema") != 1 or "tsc_hz" not in data \
            or not isinstance(data.get("sites"), list):
        raise UsageError(f"--diff: {name} was not written by ./xylem profile locks")
    return data


def paths(document: dict[str, Any]) -> tuple[list[flame.Path], str]:
    """Call paths with their cost, and what it is."""
    key = "wait_cycles" if any(site["wait_cycles"] for site in document["sites"]) else "retries"
    out: list[flame.Path] = []
    for site in document["sites"]:
        calls = [call for call in document["calls"] if call["site"] == site["name"]]
        others = [one for one in document["sites"] if one["name"] == site["name"]]
        known = sum(call[key] for call in calls)
        out.append(([contention.ELSEWHERE, site["name"]],
                    site[key] - known if len(others) == 1 else 0))
    out += [([*call.get("stack", []), call["site"]], call[key]) for call in document["calls"]]
    return out, "cycles of waiting" if key == "wait_cycles" else "retries"


def main(argv: list[str]) -> int:
    """The command."""
    args, rest = parser().parse_known_args(argv)
    if args.diff:
        if rest:
            raise UsageError(f"--diff: '{rest[0]}' does not go with it")
        print(contention.report_difference(*map(load, args.diff)))
        return 0
    if not any(word.split("=")[0] == "--guest" for word in rest):
        rest += [word for guest in LOAD for word in ("--guest", guest)]
        args.seconds = args.seconds or SECONDS
        if not any(word.split("=")[0] == "--scan-rate" for word in rest):
            rest += ["--scan-rate", "100000"]
    if args.seconds:
        parse_seconds(args.seconds, "--for")
        rest += ["--for", args.seconds]
    # Before the run: these are the symbols of what it boots.
    symbols = ksyms.functions("nm", str(build.hypervisor() / "xylem64.elf"))
    with tempfile.TemporaryDirectory(prefix="xylem-locks-") as temp:
        out = Path(temp) / "run.json"
        status = run.main([*rest, "--set", "profile.locks=1", "--json", str(out)])
        data = json.loads(out.read_text()) if out.exists() else {}
    document = data.pop("locks", None)
    if document is None:
        raise XylemError("the hypervisor wrote no report")
    contention.resolve(document, symbols)
    data.pop("mem_series", None)
    document["run"] = data
    print(f"\n{contention.report(document, args.all)}", flush=True)
    if args.json:
        report.write_json(Path(args.json), document)
    if args.svg:
        found, unit = paths(document)
        report.write_text(Path(args.svg), flame.picture("Contention by call path", found, unit))
        ui.say(f"drawn: {args.svg}")
    for wrong in contention.check(document):
        ui.say(f"the counts do not add up: {wrong}")
        status = status or 1
    return status
