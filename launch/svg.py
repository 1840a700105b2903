# SPDX-License-Identifier: MIT
"""
Charts as SVG, stacked below each other in one picture.

A chart is a dict:
  {"title": str, "x": str, "y": str,           labels of the axes, with units
   "series": [{"name": str, "points": [[x, y], ...],
               "dash": bool, "marks": bool}],  one line each; a y of None breaks it
   "levels": [{"name": str, "y": number}]}     horizontal reference lines, optional
or, with one group of bars per category:
  {"title", "x", "y", "kind": "bars", "categories": [str, ...],
   "series": [{"name": str, "values": [number or None, ...]}]}
or, with one horizontal bar per category on a logarithmic axis, from the first level's y:
  {"title", "x", "y", "kind": "ratios", "categories", "series": [one], "levels"}
"xmin", "xmax", "ymin", "ymax" fix an end of an axis; y starts at 0 unless said.

The picture brings its own background and follows the reader's light or dark scheme.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 840
LEFT, RIGHT, TOP, BOTTOM = 72, 176, 44, 52  # around the plot area of one chart
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, 210
CHART_H = TOP + PLOT_H + BOTTOM
RATIO_LEFT, RATIO_H = 390, 16  # names and rows of a chart of ratios
MAX_NAMES = 13  # legend entries that fit beside a chart
NAME_CHARS = 20

# Told apart by colour-blind readers, and legible on both backgrounds.
_LIGHT = ("#0072b2", "#d55e00", "#007a5a", "#a8447f", "#7a6200", "#2f8fc4", "#5b4fbf", "#555555")
_DARK = ("#56b4e9", "#ff8c42", "#2fc79a", "#e58fc0", "#e8d04a", "#9fd3f2", "#aaa2ff", "#bbbbbb")

_TEXT, _SOFT, _GRID, _PAGE = "#222222", "#666666", "#e3e3e3", "#ffffff"
_DARK_TEXT, _DARK_SOFT, _DARK_GRID, _DARK_PAGE = "#e6e6e6", "#a0a4ab", "#33363d", "#16181d"


def _rules(colours: Sequence[str], page: str, text: str, soft: str, grid: str) -> list[str]:
    return [f".page {{ fill: {page}; }}", f"text {{ fill: {text}; }}",
            f".level-name {{ fill: {soft}; }}", f".level {{ stroke: {soft}; }}",
            f".grid {{ stroke: {grid}; }}", f".axis {{ stroke: {text}; }}",
            *(f".s{index} {{ stroke: {value}; }}" for index, value in enumerate(colours)),
            *(f".f{index} {{ fill: {value}; }}" for index, value in enumerate(colours))]


def style() -> str:
    """The style sheet of a picture; plain enough for converters too."""
    return "\n".join((
        "<style>",
        "text { font: 12px 'DejaVu Sans', Verdana, sans-serif; }",
        "text.title { font-size: 15px; font-weight: bold; }",
        "text.small { font-size: 11px; }",
        "text.level-name { font-size: 10px; }",
        ".line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }",
        ".level { stroke-dasharray: 2 4; }",
        ".dash { stroke-dasharray: 6 4; }",
        *_rules(_LIGHT, _PAGE, _TEXT, _SOFT, _GRID),
        "@media (prefers-color-scheme: dark) {",
        *_rules(_DARK, _DARK_PAGE, _DARK_TEXT, _DARK_SOFT, _DARK_GRID), "}", "</style>"))


def nice_step(span: float, ticks: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides span into at most 'ticks' parts."""
    if span <= 0:
        return 1.0
    raw = span / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round values from low to high."""
    step = nice_step(high - low, count)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick's label."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class _Scale:
    """From values to the picture's coordinates."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low, high if high > low else low + 1
        self._start, self._factor = start, (end - start) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        return self._start + (value - self.low) * self._factor


def _range(values: Iterable[float], chart: dict[str, Any], axis: str, count: int
           ) -> tuple[float, float]:
    found = [value for value in values if value is not None and math.isfinite(value)]
    low = chart.get(f"{axis}min", min([0.0, *found] if axis == "y" else found, default=0.0))
    high = chart.get(f"{axis}max")
    if high is None:
        high = max(found, default=1.0)
        if axis == "y":
            step = nice_step(high - low, count)
            high = low + step * max(1, math.ceil((high - low) / step - 1e-9))
    return low, high


def _path(points: Iterable[Sequence[float | None]], sx: _Scale, sy: _Scale) -> str:
    out, pen = [], False
    for x, y in points:
        if x is None or y is None:
            pen = False
            continue
        out.append(f"{'L' if pen else 'M'}{sx(x):.1f} {sy(y):.1f}")
        pen = True
    return "".join(out)


def _frame(chart: dict[str, Any], sy: _Scale, top: float) -> list[str]:
    """Title, y axis, grid and the names of the axes."""
    bottom = top + PLOT_H
    out = [f'<text class="title" x="{LEFT}" y="{top - 18:g}">{escape(chart["title"])}</text>']
    for value in ticks(sy.low, sy.high, 5):
        y = sy(value)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{y:.1f}" '
                   f'y2="{y:.1f}"/>')
        out.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" '
                   f'text-anchor="end">{number(value)}</text>')
    middle = top + PLOT_H / 2
    out.append(f'<text x="18" y="{middle:g}" text-anchor="middle" '
               f'transform="rotate(-90 18 {middle:g})">{escape(chart["y"])}</text>')
    out.append(f'<text x="{LEFT + PLOT_W / 2:g}" y="{bottom + 38:g}" '
               f'text-anchor="middle">{escape(chart["x"])}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{bottom:g}" '
               f'y2="{bottom:g}"/>')
    return out


def _stroke(one: dict[str, Any], index: int) -> str:
    """The class of a line; one whose colour comes a second time is dashed."""
    dashed = one.get("dash") or index // len(_LIGHT) % 2
    return f'class="line s{index % len(_LIGHT)}{" dash" if dashed else ""}"'


def _fill(index: int) -> str:
    return f'class="f{index % len(_LIGHT)}"'


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS else f"{name[:NAME_CHARS - 1]}\u2026"


def _legend(series: list[dict[str, Any]], top: float, bars: bool) -> list[str]:
    out, x = [], LEFT + PLOT_W + 14
    for index, one in enumerate(series[:MAX_NAMES]):
        y = top + 6 + index * 16
        if bars:
            out.append(f'<rect x="{x}" y="{y - 5}" width="18" height="10" '
                       f'{_fill(index)}/>')
        else:
            out.append(f'<line {_stroke(one, index)} x1="{x}" x2="{x + 18}" y1="{y}" '
                       f'y2="{y}"/>')
        out.append(f'<text class="small" x="{x + 24}" y="{y + 4}">'
                   f'{escape(_short(one["name"]))}</text>')
    if len(series) > MAX_NAMES:
        out.append(f'<text class="small" x="{x + 24}" y="{top + 10 + MAX_NAMES * 16}">'
                   f'and {len(series) - MAX_NAMES} more</text>')
    return out


def _lines(chart: dict[str, Any], top: float) -> list[str]:
    series = chart["series"]
    points = [point for one in series for point in one["points"]]
    levels = chart.get("levels", [])
    sx = _Scale(*_range((x for x, _ in points), chart, "x", 8), LEFT, LEFT + PLOT_W)
    sy = _Scale(*_range([y for _, y in points] + [level["y"] for level in levels], chart, "y", 5),
                top + PLOT_H, top)
    out = _frame(chart, sy, top)
    for value in ticks(sx.low, sx.high, 8):
        out.append(f'<text class="small" x="{sx(value):.1f}" y="{top + PLOT_H + 18:g}" '
                   f'text-anchor="middle">{number(value)}</text>')
    for level in levels:
        y = sy(level["y"])
        out.append(f'<line class="level" x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{y:.1f}" '
                   f'y2="{y:.1f}"/>')
        out.append(f'<text class="level-name" x="{LEFT + 4}" y="{y - 3:.1f}">'
                   f'{escape(level["name"])}</text>')
    for index, one in enumerate(series):
        out.append(f'<path {_stroke(one, index)} d="{_path(one["points"], sx, sy)}"/>')
        if one.get("marks"):
            out += [f'<circle cx="{sx(x):.1f}" cy="{sy(y):.1f}" r="3" {_fill(index)}/>'
                    for x, y in one["points"] if x is not None and y is not None]
    return [*out, *_legend(series, top, False)]


def _bars(chart: dict[str, Any], top: float) -> list[str]:
    series, categories = chart["series"], chart["categories"]
    sy = _Scale(*_range((value for one in series for value in one["values"]), chart, "y", 5),
                top + PLOT_H, top)
    out = _frame(chart, sy, top)
    slot = PLOT_W / max(1, len(categories))
    width = min(40.0, slot * 0.8 / max(1, len(series)))
    for place, category in enumerate(categories):
        middle = LEFT + (place + 0.5) * slot
        out.append(f'<text class="small" x="{middle:.1f}" y="{top + PLOT_H + 18:g}" '
                   f'text-anchor="middle">{escape(str(category))}</text>')
        for index, one in enumerate(series):
            value = one["values"][place] if place < len(one["values"]) else None
            if value is None:
                continue
            x = middle + (index - len(series) / 2) * width
            y, base = sy(value), sy(max(0.0, sy.low))
            out.append(f'<rect x="{x:.1f}" y="{min(y, base):.1f}" width="{width * 0.94:.1f}" '
                       f'height="{abs(base - y):.1f}" {_fill(index)}/>')
    return [*out, *_legend(series, top, True)]


def _ratios(chart: dict[str, Any], top: float) -> list[str]:
    """Bars to both sides of the first level."""
    values, levels = chart["series"][0]["values"], chart["levels"]
    found = [value for value in [*values, *(level["y"] for level in levels)] if value]
    low = 2.0 ** math.floor(math.log2(min(found)))
    high = 2.0 ** math.ceil(math.log2(max(found)))
    left, bottom = RATIO_LEFT, top + len(values) * RATIO_H
    sx = _Scale(math.log2(low), math.log2(high), left, WIDTH - 70)
    out = [f'<text class="title" x="20" y="{top - 18:g}">{escape(chart["title"])}</text>']
    for power in range(round(math.log2(low)), round(math.log2(high)) + 1):
        x = sx(power)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(f'<text class="small" x="{x:.1f}" y="{bottom + 16:g}" '
                   f'text-anchor="middle">{2.0 ** power:.3g}</text>')
    base = sx(math.log2(levels[0]["y"]))
    for row, (name, value) in enumerate(zip(chart["categories"], values)):
        y = top + row * RATIO_H
        out.append(f'<text class="small" x="{left - 8}" y="{y + 11:g}" text-anchor="end">'
                   f'{escape(name)}</text>')
        if value:
            x = sx(math.log2(value))
            out.append(f'<rect x="{min(x, base):.1f}" y="{y + 2:g}" '
                       f'width="{max(abs(x - base), 0.5):.1f}" height="{RATIO_H - 4}" '
                       f'{_fill(int(value > levels[0]["y"]))}/>')
            out.append(f'<text class="small" x="{max(x, base) + 5:.1f}" y="{y + 11:g}">'
                       f'{value:.2f}</text>')
    for level in levels:
        x = sx(math.log2(level["y"]))
        out.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(f'<text class="level-name" x="{x:.1f}" y="{top - 4:g}" text-anchor="middle">'
                   f'{escape(level["name"])}</text>')
    out.append(f'<text x="{(left + WIDTH - 70) / 2:g}" y="{bottom + 36:g}" '
               f'text-anchor="middle">{escape(chart["x"])}</text>')
    return out


def _height(chart: dict[str, Any]) -> int:
    if chart.get("kind") == "ratios":
        return TOP + RATIO_H * len(chart["categories"]) + BOTTOM
    return CHART_H


def picture(charts: list[dict[str, Any]]) -> str:
    """All charts below each other; the whole SVG file."""
    height = sum(map(_height, charts))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" role="img">', style(),
           f'<title>{escape("; ".join(chart["title"] for chart in charts))}</title>',
           f'<rect width="{WIDTH}" height="{height}" class="page"/>']
    top = 0
    for chart in charts:
        draw = {"bars": _bars, "ratios": _ratios}.get(chart.get("kind", ""), _lines)
        out += draw(chart, top + TOP)
        top += _height(chart)
    return "\n".join([*out, "</svg>"]) + "\n"
