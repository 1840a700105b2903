# SPDX-License-Identifier: MIT
"""Configure and build with CMake."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch import ui
from launch.errors import XylemError
from launch.paths import ROOT, build_dir


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Two launchers must not run ninja in one directory."""
    path.mkdir(parents=True, exist_ok=True)
    with open(path / ".xylem-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(preset: str, targets: list[str], label: str) -> Path:
    """Build targets of a preset ([]: everything); returns the build directory."""
    where = build_dir(preset)
    jobs = os.environ.get("XYLEM_JOBS") or str(os.cpu_count() or 1)
    with _exclusive(where):
        if not (where / "build.ninja").exists():
            ui.step(f"configuring {label}",
                    ["cmake", "--preset", preset, "-B", str(where)], cwd=ROOT)
        command = ["cmake", "--build", str(where), "-j", jobs]
        if targets:
            command += ["--target", *targets]
        ui.step(f"building {label}", command, cwd=ROOT)
    return where


def hypervisor() -> Path:
    """Build the hypervisor and the mini guests; returns the build directory."""
    where = build("hypervisor", [], "the hypervisor")
    if not (where / "xylem.elf").exists():
        raise XylemError("the build made no xylem.elf: core/x86 is incomplete")
    return where


def mini_kernel(where: Path) -> Path:
    """The mini guests' kernel in a build directory."""
    path = where / "guest" / "mini.elf"
    if not path.exists():
        raise XylemError("the build made no guest/mini.elf")
    return path
