# SPDX-License-Identifier: MIT
"""Commands of the form ./xylem WORD NAME: dispatch to launch/WORD_NAME.py."""

import importlib
from collections.abc import Callable
from pathlib import Path

from launch.errors import UsageError


def dispatcher(word: str, title: str) -> Callable[[list[str]], int]:
    """The main function of ./xylem WORD; 'title' is what error messages call a NAME."""
    def main(argv: list[str]) -> int:
        found = sorted(path.stem[len(word) + 1:]
                       for path in Path(__file__).parent.glob(f"{word}_*.py"))
        if not argv or argv[0] in ("--help", "-h"):
            print(f"usage: ./xylem {word} NAME [OPTION...]\n")
            width = max(map(len, found))
            for name in found:
                module = importlib.import_module(f"launch.{word}_{name}")
                print(f"  {name:{width}} {(module.__doc__ or '').strip().splitlines()[0]}")
            print(f"\n./xylem {word} NAME --help tells each one's options.")
            return 0 if argv else 2
        if argv[0] not in found:
            raise UsageError(f"no {title} '{argv[0]}' (one of: {' '.join(found)})")
        return importlib.import_module(f"launch.{word}_{argv[0]}").main(argv[1:])
    return main
