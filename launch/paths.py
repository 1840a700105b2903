# SPDX-License-Identifier: MIT
"""Where things are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    """Downloads and what is made from them; safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = Path(base) / "xylem"
    path.mkdir(parents=True, exist_ok=True)
    return path


def build_dir(preset: str) -> Path:
    """CMake's build directory of one preset (XYLEM_BUILD_DIR moves them all)."""
    base = os.environ.get("XYLEM_BUILD_DIR")
    return (Path(base) if base else ROOT / "build") / preset
