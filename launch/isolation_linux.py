# SPDX-License-Identifier: MIT
"""The guests of the isolation experiment with stock Linux."""

from pathlib import Path

from launch import guestspec, linux_load
from launch.guestspec import Guest
from launch.units import MIB

FROM_S = 90  # system time at which the measured time begins: two Linux guests are up
HOG_FROM_S = FROM_S - 6  # the antagonist has its fill by then
GOOD = ("good1", "good2", "linux")
HOGS = {
    "cpu": "computes (the fair neighbour that the others are held against)",
    "forks": "lets all its processes fork as fast as they can (a fork bomb)",
    "memory": "fills its memory, writes to it, takes more until its kernel kills processes",
    "scarce": "does the same with more memory than the host has left",
    "events": "has a flood of timers, signals and processes that wake each other",
    "tables": "makes, fills, protects, forks and drops page tables",
}
HOG_MEM = {"memory": (192, 192), "scarce": (320, 64)}  # MiB, and the least of it
SCARCE_HOST = 304 * MIB
MINI_MEM = 8


def guests(hog: str, _pcpus: int, secs: int, where: Path) -> list[Guest]:
    """Two mini guests and a Linux guest that work, and the antagonist; all of one weight."""
    minis = [guestspec.parse_guest(
        f"mini-work,name={name},mem={MINI_MEM}M,min={MINI_MEM}M,"
        f'cmdline="from={FROM_S} secs={secs} tail=1 asleep=1"', 1)[0] for name in GOOD[:2]]
    mem, least = HOG_MEM.get(hog, (linux_load.MEM_MIB, linux_load.MEM_MIB))
    mode = "memory" if hog == "scarce" else hog
    return [*minis,
            linux_load.guest(where, GOOD[2], linux_load.command_line("work", FROM_S, secs)),
            linux_load.guest(where, "hog", linux_load.command_line(mode, HOG_FROM_S), mem, least)]
