# SPDX-License-Identifier: MIT
"""./xylem plot FILE.json: draw what a run or a benchmark recorded as SVG."""

import json
import math
from pathlib import Path
from typing import Any

from launch import report, svg
from launch.errors import Parser, UsageError
from launch.memory import PAGES_PER_MIB

_HOST = (("used", "in use"), ("saved", "saved by sharing"), ("shared", "shared"),
         ("swapped", "swapped"), ("ballooned", "ballooned"))
_GUEST = (("allocated", "Frames of each guest's own"), ("active", "Active memory, estimated"),
          ("shared", "Shared pages of each guest"), ("ballooned", "Ballooned"),
          ("swapped", "Swapped out"))
_ONE = ("given", "touched", "allocated", "active", "shared", "ballooned", "swapped", "target")
STATES = (("high", 6), ("soft", 4), ("hard", 2), ("low", 1))  # free memory, percent


def _mib(value: Any) -> float | None:
    return None if not _is_number(value) else value / PAGES_PER_MIB


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def host_chart(series: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the host's frames are, over time."""
    lines = []
    for key, name in _HOST:
        points = [[sample["t_s"], _mib(sample["total"].get(key))] for sample in series]
        # What never happened needs no line.
        if any(y for _, y in points):
            lines.append({"name": name, "points": points})
    frames = _mib(series[-1]["total"].get("frames"))
    levels = []
    most = max((y or 0 for one in lines[:1] for _, y in one["points"]), default=0)
    if frames and most > 0.8 * frames:
        levels = [{"name": f"{name}: {percent}% free", "y": frames * (100 - percent) / 100}
                  for name, percent in STATES]
    return {"title": "Memory of the host", "x": "seconds", "y": "MiB", "xmin": 0, "series": lines,
            "levels": levels}


def _spread(series: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The largest, the middle and the smallest of many guests at each time."""
    lines: dict[str, list[list[Any]]] = {"largest": [], "median": [], "smallest": []}
    for sample in series:
        values = sorted(value for guest in sample["guests"].values()
                        if (value := _mib(guest.get(key))) is not None)
        picks = (values[-1], values[len(values) // 2], values[0]) if values else (None,) * 3
        for points, value in zip(lines.values(), picks):
            points.append([sample["t_s"], value])
    return [{"name": f"{name} guest", "points": points} for name, points in lines.items()]


def guest_chart(series: list[dict[str, Any]], key: str, title: str) -> dict[str, Any] | None:
    """One value of every guest over time; None when it is zero throughout."""
    names = list(dict.fromkeys(name for sample in series for name in sample["guests"]))
    if len(names) > svg.MAX_NAMES:
        lines = _spread(series, key)
    else:
        lines = [{"name": name, "points": [[sample["t_s"],
                                            _mib(sample["guests"].get(name, {}).get(key))]
                                           for sample in series]} for name in names]
    if not any(y for one in lines for _, y in one["points"]):
        return None
    return {"title": title, "x": "seconds", "y": "MiB", "xmin": 0, "series": lines}


def one_guest_chart(series: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """All values of one guest over time."""
    if not any(name in sample["guests"] for sample in series):
        raise UsageError(f"--guest: the file has no guest '{name}'")
    lines = [{"name": key, "points": [[sample["t_s"],
                                       _mib(sample["guests"].get(name, {}).get(key))]
                                      for sample in series]} for key in _ONE]
    return {"title": f"Memory of {name}", "x": "seconds", "y": "MiB", "xmin": 0,
            "series": [one for one in lines if any(y for _, y in one["points"])]}


def run_charts(series: list[dict[str, Any]], guests: list[str]) -> list[dict[str, Any]]:
    """The charts of a run."""
    if guests:
        return [one_guest_chart(series, name) for name in guests]
    found = [host_chart(series)]
    for key, title in _GUEST:
        chart = guest_chart(series, key, title)
        if chart:
            found.append(chart)
    return found


def _check_sample(sample: Any) -> bool:
    return (isinstance(sample, dict) and _is_number(sample.get("t_s"))
            and isinstance(sample.get("total"), dict) and isinstance(sample.get("guests"), dict)
            and all(isinstance(values, dict) for values in sample["guests"].values()))


def _check_chart(chart: Any) -> bool:
    """Whether a chart that a benchmark wrote can be drawn (see svg.py)."""
    if not isinstance(chart, dict) or not isinstance(chart.get("series"), list):
        return False
    if not all(isinstance(chart.get(key), str) for key in ("title", "x", "y")):
        return False
    value = "values" if chart.get("kind") in ("bars", "ratios") else "points"
    if value == "values" and not isinstance(chart.get("categories"), list):
        return False
    for one in chart["series"]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) \
                or not isinstance(one.get(value), list):
            return False
        numbers = one[value] if value == "values" else [
            number for point in one[value]
            for number in (point if isinstance(point, list) and len(point) == 2 else [""])]
        if not all(number is None or _is_number(number) for number in numbers):
            return False
    levels = chart.get("levels", [])
    if chart.get("kind") == "ratios" and not (levels and chart["series"]):
        return False
    return isinstance(levels, list) and all(
        isinstance(level, dict) and isinstance(level.get("name"), str)
        and _is_number(level.get("y")) for level in levels)


def charts_of(data: Any, source: str, guests: list[str]) -> list[dict[str, Any]]:
    """All charts that a JSON document has."""
    if not isinstance(data, dict):
        raise UsageError(f"{source}: not a JSON object")
    charts = data.get("charts", [])
    if not isinstance(charts, list) or not all(map(_check_chart, charts)):
        raise UsageError(f"{source}: 'charts' is not a list of charts")
    series = data.get("mem_series", [])
    if not isinstance(series, list) or not all(map(_check_sample, series)):
        raise UsageError(f"{source}: 'mem_series' is not a list of samples")
    found = ([] if guests else list(charts)) + (run_charts(series, guests) if series else [])
    if not found:
        raise UsageError(f"{source}: nothing to draw (no 'mem_series', no 'charts')")
    return found


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem plot", description="Draw the results of ./xylem run --json or "
                    "./xylem bench --json as SVG.")
    parser.add_argument("file", metavar="FILE.json", help="what --json wrote")
    parser.add_argument("-o", "--output", metavar="FILE.svg",
                        help="the picture ('-': standard output; default: beside FILE.json)")
    parser.add_argument("--guest", metavar="NAME", action="append", default=[],
                        help="one chart with all values of this guest; may be repeated")
    args = parser.parse_args(argv)
    source = Path(args.file)
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{args.file}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{args.file}: not JSON: {error}") from None
    text = svg.picture(charts_of(data, args.file, args.guest))
    if args.output == "-":
        print(text, end="")
        return 0
    out = Path(args.output) if args.output else source.with_suffix(".svg")
    report.write_text(out, text)
    print(out)
    return 0
