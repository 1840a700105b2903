# SPDX-License-Identifier: MIT
"""Figures 2, 6 and 7 of the ESX paper: ballooning, active memory, the idle-memory tax."""

import argparse
import re
from statistics import mean
from typing import Any

from launch import report
from launch.errors import XylemError
from launch.lab import Instance
from launch.memory import PAGES_PER_MIB, mib

BALLOON_LIMIT = 0.10  # throughput lost to ballooning; the paper saw 1.4 to 4.4%
ESTIMATE_LIMIT = 0.10  # of the guest's memory, at the end of a phase
TAX_LIMIT, TAX_LIMIT_SMALL = 0.05, 0.10  # of what the formula gives each guest


# ---- figure 2 ----------------------------------------------------------------------------------

def throughput(args: argparse.Namespace, mem: int, files: int, balloon: int) -> dict[str, float]:
    """A file server with @mem MiB of which @balloon pages are ballooned away."""
    label = f"{mem - balloon // PAGES_PER_MIB} MiB" + (" by balloon" if balloon else "")
    secs = 2 if args.small else 20
    # Deterministic time: both guests do the same until their memory tells them apart.
    words = ["--pcpus", "1", "--icount", "--scan-rate", "0",
             "--guest", f"mini-cache,name=server,mem={mem}M,cmdline=files={files} secs={secs} "
                        f"seed=1 wait={balloon}"]
    with Instance(label, words, args.timeout) as lab:
        if balloon:
            lab.until(lambda: lab.seen("server", "mini: cache ready"), "booting", args.timeout)
            lab.ctl("balloon", "server", balloon)
        lab.finish("serving")
        for line in lab.lines["server"]:
            match = re.search(r"PASS role=cache .*ops_per_s=(\d+) cached_pages=(\d+) "
                              r"ballooned_pages=(\d+)", line.text)
            if match:
                return dict(zip(("ops_per_s", "cached_pages", "ballooned_pages"),
                                map(int, match.groups())))
    raise XylemError(f"{label}: the guest reported nothing")


def figure_2(args: argparse.Namespace) -> dict[str, Any]:
    """Balloon performance: a guest ballooned to a size against a guest of that size."""
    largest, sizes = (16, (8, 12)) if args.small else (64, (32, 40, 48, 56))
    files = largest + largest // 2
    rows = []
    for size in (*sizes, largest):
        small = throughput(args, size, files, 0)
        balloon = (largest - size) * PAGES_PER_MIB
        large = throughput(args, largest, files, balloon) if balloon else small
        rows.append({"mib": size, "plain": small, "ballooned": large,
                     "lost": 1 - large["ops_per_s"] / small["ops_per_s"]})
    print(report.render(
        ["MiB", "", "smaller guest, ops/s", "ballooned guest, ops/s", "lost"],
        [[str(row["mib"]), "", str(row["plain"]["ops_per_s"]),
          str(row["ballooned"]["ops_per_s"]), f"{100 * row['lost']:.2f}%"] for row in rows]),
        flush=True)
    rising = all(a["plain"]["ops_per_s"] < b["plain"]["ops_per_s"]
                 for a, b in zip(rows, rows[1:]))
    chart = {"title": f"A file server with less memory, and ballooned from {largest} MiB",
             "x": "memory, MiB", "y": "operations/s", "series": [
                 {"name": name, "marks": True,
                  "points": [[row["mib"], row[key]["ops_per_s"]] for row in rows]}
                 for name, key in (("guest of that size", "plain"), ("by balloon", "ballooned"))]}
    return {"rows": rows, "limit": BALLOON_LIMIT, "charts": [chart],
            "ok": rising and all(row["lost"] <= BALLOON_LIMIT for row in rows)}


# ---- figure 6 ----------------------------------------------------------------------------------

def truth_of(lab: Instance, name: str) -> list[tuple[float, float]]:
    """(seconds, MiB) that a toucher said it was touching."""
    out = []
    for line in lab.lines.get(name, ()):
        match = re.search(r"touch t_ms=(\d+) active_pages=(\d+)", line.text)
        if match:
            out.append((int(match[1]) / 1000, int(match[2]) / PAGES_PER_MIB))
    return out


def phase_errors(truth: list[tuple[float, float]], estimate: list[tuple[float, float]],
                 ) -> list[dict[str, float]]:
    """Truth and mean estimate in the last quarter of each phase."""
    phases: list[list[float]] = []  # start, end, MiB
    for t, active in truth:
        if phases and phases[-1][2] == active:
            phases[-1][1] = t
        else:
            phases.append([t, t, active])
    out = []
    for start, end, active in phases:
        values = [value for t, value in estimate if end - (end - start) / 4 <= t <= end]
        if values:
            out.append({"start_s": start, "end_s": end, "active_mib": active,
                        "estimate_mib": mean(values)})
    return out


def figure_6(args: argparse.Namespace) -> dict[str, Any]:
    """The estimate of active memory against what a guest really touches."""
    mem, sample_ms = (32, 250) if args.small else (128, 500)
    phase = 20 if args.small else 60
    sizes = (24, 6, 16) if args.small else (16, 96, 48, 8, 112, 64, 0)
    phases = "/".join(f"{size}:{phase}" for size in sizes)
    words = ["--pcpus", "2", "--scan-rate", "0", "--mem-period", "500",
             "--set", f"mem.sample_ms={sample_ms}",
             "--guest", f"mini-touch,name=toucher,mem={mem}M,"
                        f"cmdline=phases={phases} hold={mem - 8} every_ms=500"]
    with Instance("active memory", words, args.timeout) as lab:
        data = lab.finish("touching")
        truth = truth_of(lab, "toucher")
    estimate = [(sample["t_s"], sample["guests"]["toucher"]["active"] / PAGES_PER_MIB)
                for sample in data["mem_series"] if "toucher" in sample["guests"]]
    rows = phase_errors(truth, estimate)
    if not rows:
        raise XylemError("no estimate was reported while the guest ran")
    for row in rows:
        row["error"] = abs(row["estimate_mib"] - row["active_mib"]) / mem
    print(report.render(
        ["phase", "", "touched, MiB", "estimated", "off by, of its memory"],
        [[f"{row['start_s']:.0f}-{row['end_s']:.0f} s", "", f"{row['active_mib']:.1f}",
          f"{row['estimate_mib']:.1f}", f"{100 * row['error']:.1f}%"] for row in rows]),
        flush=True)
    chart = {"title": "Active memory: touched and estimated", "x": "seconds", "y": "MiB",
             "series": [{"name": "touched", "points": [list(point) for point in truth]},
                        {"name": "estimated", "points": [list(point) for point in estimate]}]}
    return {"mem_mib": mem, "sample_ms": sample_ms, "phases": rows, "limit": ESTIMATE_LIMIT,
            "charts": [chart], "ok": len(rows) >= len(sizes) - 1
            and all(row["error"] <= ESTIMATE_LIMIT for row in rows)}


# ---- figure 7 ----------------------------------------------------------------------------------

def idle_share(tax: int) -> float:
    """
    The idle guest's part of the memory when both pay the same price per page: it uses none of its
    pages P1, the other all of its pages P2, shares are equal, so P1 / (1 - tax) = P2.
    """
    cost = 1 / (1 - tax / 100)
    return 1 / (1 + cost)


def figure_7(args: argparse.Namespace) -> dict[str, Any]:
    """Two guests of equal shares, one idle, tax 0% to 75%."""
    # Each may have all there is: no maximum is in the way of the split.
    mem = 128 if args.small else 192
    fill, secs = mem - 12, 36000
    words = ["--pcpus", "2", "--mem", f"{mem}M", "--scan-rate", "0", "--mem-period", "500",
             "--tax", "0", "--set", "mem.sample_ms=400",
             "--guest", f"mini-idle,name=idle,mem={mem}M,shares=1000,min=4M,"
                        f"cmdline=touch={fill} secs={secs}",
             "--guest", f"mini-touch,name=busy,mem={mem}M,shares=1000,min=4M,"
                        f"cmdline=phases={fill}:{secs} hold={fill} hz=6"]
    rows = []
    with Instance("idle tax", words, args.timeout) as lab:
        def held() -> float:
            return lab.pages("idle", "allocated")

        lab.until(lambda: lab.seen("idle", "mini: idle ready")
                  and lab.seen("busy", "mini: touch ready"), "filling memory", args.timeout)
        for tax in (0, 75):
            if tax:
                lab.ctl("tax", tax)
            # The estimate of what is active falls slowly, and the split with it.
            settled = lab.settle(lambda: held() + lab.pages("idle", "active"), f"tax {tax}%",
                                 90 if args.small else 240, 10 if args.small else 20, 0.01)
            idle, busy = held(), lab.pages("busy", "allocated")
            share, ideal = idle / max(1, idle + busy), idle_share(tax)
            rows.append({"tax": tax, "idle_pages": idle, "busy_pages": busy, "settled": settled,
                         "idle_share": share, "formula": ideal, "error": max(
                             abs(share / ideal - 1), abs((1 - share) / (1 - ideal) - 1)),
                         "idle_active_pages": lab.pages("idle", "active"),
                         "busy_active_pages": lab.pages("busy", "active")})
        data = lab.stop()
    print(report.render(
        ["tax", "", "idle, MiB", "busy, MiB", "idle's part", "formula", "off by"],
        [[f"{row['tax']}%", "" if row["settled"] else "not settled", mib(row["idle_pages"]),
          mib(row["busy_pages"]), f"{100 * row['idle_share']:.1f}%",
          f"{100 * row['formula']:.1f}%", f"{100 * row['error']:.1f}%"] for row in rows]),
        flush=True)
    series = [{"name": f"{name}: {key}",
               "points": [[sample["t_s"], sample["guests"][name][key] / PAGES_PER_MIB]
                          for sample in data["mem_series"] if name in sample["guests"]],
               "dash": key == "active"}
              for name in ("idle", "busy") for key in ("allocated", "active")]
    chart = {"title": "Two guests of equal shares; the idle-memory tax goes from 0 to 75%",
             "x": "seconds", "y": "MiB", "series": series}
    limit = TAX_LIMIT_SMALL if args.small else TAX_LIMIT
    return {"mem_mib": mem, "rows": rows, "limit": limit, "charts": [chart],
            "ok": all(row["settled"] and row["error"] <= limit for row in rows)}
