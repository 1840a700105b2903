# SPDX-License-Identifier: MIT
"""Figures 4 and 5 of the ESX paper: sharing among identical guests."""

import argparse
from typing import Any

from launch import report
from launch.lab import Instance
from launch.memory import PAGES_PER_MIB, mib

SCAN_RATE = 50000  # pages per second, all together
SETTLE_S = 180  # the longest time a scan may take to settle
QUIET_S = 12  # saved memory is steady when it keeps within 0.5% for so long
SHARED_LIMIT, SAVED_LIMIT = 0.67, 0.60  # of touched memory, at 10 guests (the paper's best case)
KEYS = ("given", "touched", "shared", "saved", "zero", "used")


def guest_words(kind: str, count: int, small: bool) -> list[str]:
    """--guest options for so many identical guests."""
    if kind == "linux":
        return ["--guest", f"linux:{count},mem={96 if small else 256}M,"
                           "cmdline=quiet xylem.task=idle=36000"]
    pages = 1000 if small else 8000
    return ["--guest", f"mini-pattern:{count},mem={8 if small else 48}M,cmdline=pages={pages} "
                       "same=70 zero=10 rewrite=0 pause_ms=5000 secs=36000"]


def one_count(args: argparse.Namespace, count: int) -> dict[str, Any]:
    """Boot so many guests, let the scanner settle, and read the totals."""
    up = "xylem-userspace" if args.guest == "linux" else "mini: pattern ready"
    number = "" if count == 1 else f" of {count}"
    names = [f"{'linux' if args.guest == 'linux' else 'mini-pattern'}{index + 1}"
             for index in range(count)]
    words = ["--pcpus", "2", "--scan-rate", str(SCAN_RATE), "--mem-period", "1000",
             *guest_words(args.guest, count, args.small)]
    with Instance(f"{count} {args.guest}", words, args.timeout) as lab:
        lab.until(lambda: all(lab.seen(name, up) for name in names),
                  f"waiting for the guests{number}", args.timeout)
        settled = lab.settle(lambda: lab.total.get("saved", 0), "scanning", SETTLE_S, QUIET_S,
                             0.005)
        lab.update()
        found = {key: int(lab.total.get(key, 0)) for key in KEYS}
        scanned = int(lab.total.get("scanned", 0))
        lab.stop()
    return {"guests": count, "settled": settled, "scanned_pages": scanned,
            **{f"{key}_pages": value for key, value in found.items()},
            "shared_share": found["shared"] / max(1, found["touched"]),
            "saved_share": found["saved"] / max(1, found["touched"])}


def charts(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Both figures."""
    def line(name: str, key: str, scale: float) -> dict[str, Any]:
        return {"name": name, "marks": True,
                "points": [[row["guests"], row[key] * scale] for row in rows]}
    return [
        {"title": f"Sharing among identical {kind} guests", "x": "guests", "y": "MiB",
         "series": [line(name, f"{key}_pages", 1 / PAGES_PER_MIB) for name, key in (
             ("touched by guests", "touched"), ("shared", "shared"), ("saved", "saved"),
             ("of zero pages", "zero"))]},
        {"title": "The same as shares of the touched memory", "x": "guests", "y": "%",
         "ymax": 100, "series": [line("shared", "shared_share", 100),
                                 line("saved", "saved_share", 100)]}]


def figure_4(args: argparse.Namespace) -> dict[str, Any]:
    """Sharing against the number of identical guests."""
    counts = args.guests or list(range(1, 4 if args.small else 11))
    rows = [one_count(args, count) for count in counts]
    print(report.render(
        ["guests", "", "touched MiB", "shared", "saved", "shared %", "saved %"],
        [[str(row["guests"]), "" if row["settled"] else "not settled", mib(row["touched_pages"]),
          mib(row["shared_pages"]), mib(row["saved_pages"]), f"{100 * row['shared_share']:.1f}",
          f"{100 * row['saved_share']:.1f}"] for row in rows]), flush=True)
    last = rows[-1]
    # With fewer guests there is less to share: n identical ones can save (n-1)/n at most.
    most = counts[-1]
    part = (most - 1) / most / 0.9 if most < 10 else 1.0
    limits = {"shared_share": SHARED_LIMIT * part, "saved_share": SAVED_LIMIT * part}
    rising = all(b["saved_pages"] >= 0.98 * a["saved_pages"] for a, b in zip(rows, rows[1:]))
    fine = rising and all(last[key] >= limit for key, limit in limits.items())
    return {"guest": args.guest, "scan_rate": SCAN_RATE, "rows": rows, "limits": limits,
            "ok": fine, "charts": charts(rows, args.guest)}
