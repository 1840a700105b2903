# SPDX-License-Identifier: MIT
"""
A flame graph, hanging from the top: call paths as boxes, as wide as what they cost.

A path is (names from outside in, cost, text). Boxes of one caller are sorted by name, so that two
pictures can be compared; the last box of a path is drawn in another colour.
"""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from launch import svg

WIDTH, MARGIN, ROW, TOP = 1000, 10, 18, 52
CHAR = 6.7  # width of a letter
_BOXES = {"call": ("#cfe0ee", "#2c4658"), "leaf": ("#f0b27a", "#8a4f1d")}

Path = tuple[list[str], int]


@dataclass
class _Box:
    """One name under one caller."""

    name: str
    cost: int = 0
    leaf: bool = False
    under: dict[str, "_Box"] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((box.depth() for box in self.under.values()), default=0)


def _tree(paths: list[Path]) -> _Box:
    root = _Box("all")
    for names, cost in paths:
        if cost <= 0:
            continue
        root.cost += cost
        box = root
        for place, name in enumerate(names):
            # A site is no caller's name, whatever it is called.
            key = f"{name}\0leaf" if place == len(names) - 1 else name
            box = box.under.setdefault(key, _Box(name))
            box.cost += cost
        box.leaf = True
    return root


def _style() -> str:
    light = "\n".join(f".b-{name} {{ fill: {pair[0]}; }}" for name, pair in _BOXES.items())
    dark = "\n".join(f".b-{name} {{ fill: {pair[1]}; }}" for name, pair in _BOXES.items())
    return (svg.style().replace("</style>", "") + f"\n{light}\n"
            f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n</style>")


def _draw(box: _Box, x: float, y: int, scale: float, whole: int, unit: str, out: list[str]) -> None:
    width = box.cost * scale
    if width < 0.4:
        return
    letters = int((width - 6) / CHAR)
    tip = f"{box.name}: {box.cost:,} {unit}, {100 * box.cost / whole:.1f}%"
    out.append(f'<g><title>{escape(tip)}</title>'
               f'<rect class="b-{"leaf" if box.leaf else "call"}" x="{x:.1f}" y="{y}" '
               f'width="{max(width - 0.6, 0.4):.1f}" height="{ROW - 1}" rx="2"/>')
    if letters >= 3:
        text = box.name if len(box.name) <= letters else box.name[:letters - 1] + "…"
        out.append(f'<text class="small" x="{x + 4:.1f}" y="{y + 13}">{escape(text)}</text>')
    out.append("</g>")
    for key in sorted(box.under):
        _draw(box.under[key], x, y + ROW, scale, whole, unit, out)
        x += box.under[key].cost * scale


def picture(title: str, paths: list[Path], unit: str) -> str:
    """The whole SVG file; 'unit': what a cost counts."""
    root = _tree(paths)
    height = TOP + root.depth() * ROW + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" role="img">', _style(),
           f"<title>{escape(title)}</title>",
           f'<rect width="{WIDTH}" height="{height}" class="page"/>',
           f'<text class="title" x="{MARGIN}" y="22">{escape(title)}</text>',
           f'<text class="small" x="{MARGIN}" y="40">{root.cost:,} {escape(unit)}</text>']
    if root.cost:
        _draw(root, MARGIN, TOP, (WIDTH - 2 * MARGIN) / root.cost, root.cost, unit, out)
    return "\n".join([*out, "</svg>"]) + "\n"
