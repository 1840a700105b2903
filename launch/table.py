# SPDX-License-Identifier: MIT
"""Plain tables."""


def plain(header: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table without rules: the first column left, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in [header, *rows]]
