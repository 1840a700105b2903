# SPDX-License-Identifier: MIT
"""./xylem bench NAME: dispatch to launch/bench_NAME.py."""

import importlib
from pathlib import Path

from launch.errors import UsageError


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem[len("bench_"):] for path in Path(__file__).parent.glob("bench_*.py"))


def main(argv: list[str]) -> int:
    """The command."""
    if not argv or argv[0] in ("--help", "-h"):
        print("usage: ./xylem bench NAME [OPTION...]\n")
        for name in names():
            module = importlib.import_module(f"launch.bench_{name}")
            print(f"  {name:8} {(module.__doc__ or '').strip().splitlines()[0]}")
        print("\n./xylem bench NAME --help tells each one's options.")
        return 0 if argv else 2
    if argv[0] not in names():
        raise UsageError(f"no benchmark '{argv[0]}' (one of: {' '.join(names())})")
    return importlib.import_module(f"launch.bench_{argv[0]}").main(argv[1:])
