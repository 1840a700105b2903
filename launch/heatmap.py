# SPDX-License-Identifier: MIT
"""A triangle of pairs as SVG: how many lines each pair shares."""

from xml.sax.saxutils import escape

from launch import svg

CELL, LEFT, TOP = 22, 120, 40
# Lines shared: none, none but what the layout of the guest's own structures forces, and more.
_CELLS = {"none": ("#cfe8d5", "#24452e"), "forced": ("#bcd7ee", "#274a66"),
          "interrupt": ("#d9cdec", "#4a3a6b"),
          "few": ("#f6c26b", "#8a5a10"), "some": ("#ee8a4a", "#a8461a"),
          "many": ("#d9412f", "#c22f2f")}
LEGEND = (("none", "no line"), ("forced", "only lines that the ABI's layout makes one"),
          ("interrupt", "only in interrupts (TLB flushes, timers)"),
          ("few", "1 or 2"), ("some", "3 to 9"), ("many", "10 and more"))

Pair = tuple[int, int, int]  # shared lines, forced ones, those of interrupts only


def _class(pair: Pair) -> str:
    shared, forced, interrupts = pair
    if not shared:
        return "forced" if forced else "interrupt" if interrupts else "none"
    return "few" if shared < 3 else "some" if shared < 10 else "many"


def _style() -> str:
    light = "\n".join(f".h-{name} {{ fill: {pair[0]}; }}" for name, pair in _CELLS.items())
    dark = "\n".join(f".h-{name} {{ fill: {pair[1]}; }}" for name, pair in _CELLS.items())
    return (svg.style().replace("</style>", "") + f"\n{light}\n"
            f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n</style>")


def _triangle(title: str, names: list[str], pairs: dict[tuple[str, str], Pair], top: int
              ) -> list[str]:
    out = [f'<text class="title" x="10" y="{top + 18}">{escape(title)}</text>']
    base = top + TOP
    for row, name in enumerate(names):
        y = base + row * CELL
        out.append(f'<text class="small" x="{LEFT - 6}" y="{y + 15}" text-anchor="end">'
                   f'{escape(name)}</text>')
        for column, other in enumerate(names[:row + 1]):
            pair = pairs.get((name, other), pairs.get((other, name)))
            if pair is None:
                continue
            x = LEFT + column * CELL
            out.append(f'<rect class="h-{_class(pair)}" x="{x}" y="{y}" width="{CELL - 2}" '
                       f'height="{CELL - 2}"><title>{escape(f"{name} / {other}")}: {pair[0]} shared, '
                       f'{pair[1]} forced, {pair[2]} in interrupts</title></rect>')
            if pair[0]:
                out.append(f'<text class="small" x="{x + (CELL - 2) / 2}" y="{y + 14}" '
                           f'text-anchor="middle">{min(pair[0], 999)}</text>')
    bottom = base + len(names) * CELL
    for column, name in enumerate(names):
        x = LEFT + column * CELL + 13
        out.append(f'<text class="small" x="{x}" y="{bottom + 6}" text-anchor="end" '
                   f'transform="rotate(-60 {x} {bottom + 6})">{escape(name)}</text>')
    return out


def picture(triangles: list[tuple[str, list[str], dict[tuple[str, str], Pair]]]) -> str:
    """(title, operations, lines of each pair) of each triangle, below each other."""
    heights = [TOP + len(names) * CELL + 100 for _, names, _ in triangles]
    width = LEFT + max((len(names) for _, names, _ in triangles), default=1) * CELL + 30
    width = max(width, 560)
    height = sum(heights) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" role="img">', _style(),
           f"<title>{escape('; '.join(title for title, _, _ in triangles))}</title>",
           f'<rect width="{width}" height="{height}" class="page"/>']
    top = 0
    for (title, names, pairs), tall in zip(triangles, heights):
        out += _triangle(title, names, pairs, top)
        top += tall
    x = 10
    for name, text in LEGEND:
        out.append(f'<rect class="h-{name}" x="{x}" y="{top + 4}" width="14" height="14"/>')
        out.append(f'<text class="small" x="{x + 18}" y="{top + 15}">{escape(text)}</text>')
        x += 30 + 6 * len(text)
    return "\n".join([*out, "</svg>"]) + "\n"
