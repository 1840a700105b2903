# SPDX-License-Identifier: MIT
"""./xylem stress NAME: dispatch to launch/stress_NAME.py."""

import importlib
from pathlib import Path

from launch.errors import UsageError


def names() -> list[str]:
    """The stress runs there are."""
    return sorted(path.stem[len("stress_"):] for path in Path(__file__).parent.glob("stress_*.py"))


def main(argv: list[str]) -> int:
    """The command."""
    if not argv or argv[0] in ("--help", "-h"):
        print("usage: ./xylem stress NAME [OPTION...]\n")
        for name in names():
            module = importlib.import_module(f"launch.stress_{name}")
            print(f"  {name:8} {(module.__doc__ or '').strip().splitlines()[0]}")
        print("\n./xylem stress NAME --help tells each one's options.")
        return 0 if argv else 2
    if argv[0] not in names():
        raise UsageError(f"no stress run '{argv[0]}' (one of: {' '.join(names())})")
    return importlib.import_module(f"launch.stress_{argv[0]}").main(argv[1:])
