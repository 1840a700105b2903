# SPDX-License-Identifier: MIT
"""Experiments of the VMware ESX memory paper (OSDI 2002): figures 2, 4 (with 5), 6 and 7."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import esx_policy, esx_sharing, report, svg, ui
from launch.errors import Parser
from launch.units import parse_int

EPILOG = """\
Figures:
  2  a guest's throughput after ballooning to a size, against a guest of that size
  4  sharing against the number of identical guests (and 5: as shares of their memory)
  6  estimate of active memory against what a guest really touches
  7  two guests of equal shares, one idle, while the idle-memory tax goes from 0 to 75%
Each prints a table; --json has all numbers and --svg the picture. With several figures, the
number goes before each file name's suffix.

Exit status: 0 all results are within their limits, 1 not.
"""

# figure: function of the options, which returns its JSON document
FIGURES: dict[int, Callable[[argparse.Namespace], dict[str, Any]]] = {
    4: esx_sharing.figure_4, 2: esx_policy.figure_2, 6: esx_policy.figure_6,
    7: esx_policy.figure_7,
}


def numbered(text: str, figure: int, several: bool) -> Path:
    """The file name for one figure."""
    path = Path(text)
    return path.with_name(f"{path.stem}-{figure}{path.suffix}") if several else path


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench esx", description=__doc__, epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", action="append", choices=[str(n) for n in FIGURES],
                        help="only this one; may be repeated")
    parser.add_argument("--small", action="store_true",
                        help="sizes and times that suit a quick check")
    parser.add_argument("--guest", metavar="KIND", choices=("linux", "pattern"),
                        default="linux", help="figure 4: linux (default), or pattern, which "
                        "verifies what it shares")
    parser.add_argument("--guests", metavar="N", help="figure 4: 1 to N guests (10), or "
                        "these numbers: N,N,...")
    parser.add_argument("--timeout", metavar="SECONDS", default="1800", help="per boot (1800)")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--svg", metavar="FILE", help="draw them there")
    args = parser.parse_args(argv)
    args.timeout = parse_int(args.timeout, "--timeout", 1, 86400)
    if args.guests:
        counts = sorted(parse_int(word, "--guests", 1, 64) for word in args.guests.split(","))
        args.guests = list(range(1, counts[0] + 1)) if len(counts) == 1 else counts
    chosen = [int(text) for text in args.figure] if args.figure else list(FIGURES)
    fine = True
    for figure in chosen:
        ui.say(f"bench esx: figure {figure}: "
               f"{(FIGURES[figure].__doc__ or '').strip().splitlines()[0]}")
        data = {"schema": 1, "figure": figure, "small": args.small, **FIGURES[figure](args)}
        fine = fine and data["ok"]
        several = len(chosen) > 1
        if args.json:
            report.write_json(numbered(args.json, figure, several), data)
        if args.svg:
            report.write_text(numbered(args.svg, figure, several),
                              svg.picture(data["charts"]))
    return 0 if fine else 1
