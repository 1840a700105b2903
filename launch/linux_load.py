# SPDX-License-Identifier: MIT
"""Linux guests whose first process is guest/linux/load.c: one that works, or a hog."""

import re
from dataclasses import dataclass
from pathlib import Path

from launch import compare_linux, debian
from launch.errors import XylemError
from launch.guestspec import Guest
from launch.units import MIB

MEM_MIB = 96  # the least that Debian's kernel boots with
HOGS = ("cpu", "forks", "memory", "events", "tables")
# Half of the boot's instructions are checks that the kernel makes of itself.
CMDLINE = ("console=hvc0 quiet rdinit=/init rodata=off cryptomgr.notests "
           "initcall_blacklist=event_trace_init,tracer_init_tracefs")
# Random numbers of the CPU would differ from run to run.
QEMU_ARGS = ["-cpu", "max,-smap,-rdrand,-rdseed"]


@dataclass
class Work:
    """What a working guest told at its end."""

    units: int
    running_ns: int


def command_line(load: str, from_s: int, secs: int = 0, tail: int = 1) -> str:
    """The kernel's command line; what it does not know becomes the first process's environment."""
    if load not in ("work", *HOGS):
        raise ValueError(load)
    length = f" secs={secs} tail={tail}" if load == "work" else ""
    return f"{CMDLINE} load={load} from_ms={1000 * from_s}{length}"


def guest(where: Path, name: str, words: str, mem: int = MEM_MIB, least: int = 0) -> Guest:
    """One vCPU with the stock kernel; mem and least ('min=') in MiB."""
    return Guest("linux", name, mem=mem * MIB, min=(least or mem) * MIB,
                 kernel=debian.linux_image()[1],
                 initrd=compare_linux.initrd(where / "guest" / "linux_load", False), cmdline=words)


def ready_ms(lines: list[str]) -> int:
    """When its first process began."""
    for text in lines:
        if match := re.search(r"load: ready ms=(\d+)", text):
            return int(match[1])
    raise XylemError("a Linux guest did not come up: " + "; ".join(lines[-3:]))


def result(name: str, lines: list[str]) -> Work:
    """Of a guest with load=work that has ended."""
    for text in lines:
        if match := re.search(r"PASS role=work units=(\d+) running_ns=(\d+)", text):
            return Work(int(match[1]), int(match[2]))
    raise XylemError(f"{name} did not say what it did: " + "; ".join(lines[-3:] or ["nothing"]))
