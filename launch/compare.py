# SPDX-License-Identifier: MIT
"""The same guest on Xylem and as Domain0 of Debian's Xen: boots, and the figures they print."""

import gzip
import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import debian, kernelimg, plan, ui
from launch.errors import XylemError
from launch.guestspec import Guest
from launch.machine import Machine, Options, command, multiboot
from launch.paths import cache_dir
from launch.records import parse_log

XEN_PACKAGE = "xen-hypervisor-4.17-amd64"
HOST_MEM = 1 << 30
_FIGURE = re.compile(r"bench: per=(\d+) n=(\d+) median=(\d+) min=(\d+) max=(\d+) name=(.+?)\s*$")
_BROKEN = re.compile(r"mini: FAIL|Panic on CPU|\bpanic\b|Kernel panic|guest .* crashed")


def xen_image() -> Path:
    """Debian's Xen 4.17, unpacked."""
    images = list((debian.unpacked(XEN_PACKAGE) / "boot").glob("xen-*.gz"))
    if len(images) != 1:
        raise XylemError(f"{XEN_PACKAGE} holds {len(images)} images")
    out = cache_dir() / f"xen-{debian.candidate(XEN_PACKAGE)}.elf"
    if not out.exists():
        out.write_bytes(gzip.decompress(images[0].read_bytes()))
    return out


@dataclass
class Figure:
    """Instructions of one operation: the median of many, the least and the most."""

    value: float
    low: float
    high: float
    samples: int


@dataclass
class Run:
    """One boot on one hypervisor."""

    system: str
    figures: dict[str, Figure] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Keep a line, and the figure in it."""
        self.lines.append(line)
        match = _FIGURE.search(line)
        if match:
            per, samples, mid, low, high = (int(text) for text in match.groups()[:5])
            self.figures[match[6]] = Figure(mid / per, low / per, high / per, samples)


@dataclass
class Work:
    """A guest that measures; 'done' is the last line that it prints."""

    title: str
    guest: Guest
    mini: Path | None
    done: str
    timeout: float = 600
    others: list[Guest] = field(default_factory=list)  # beside it; on Xylem only


def _boot(work: Work, system: str, elf: Path) -> Callable[[Machine], list[str]]:
    guest = work.guest
    if system == "xylem":
        boot_plan = plan.make_plan([guest, *work.others], work.mini, {})
        return lambda machine: multiboot(elf, "", boot_plan.stage(machine.dir))
    kernel = work.mini
    if kernel is None:
        assert guest.kernel
        kernel = kernelimg.load(guest.kernel, "kernel").elf
    files = [("kernel", kernel, plan.cmdline_of(guest)),
             *([("initrd", guest.initrd, "")] if guest.initrd else [])]
    options = (f"console=com1 com1=115200 dom0_mem={guest.mem >> 20}M,max:{guest.mem >> 20}M "
               f"dom0_max_vcpus={guest.vcpus}")

    def boot(machine: Machine) -> list[str]:
        modules = []
        for name, path, words in files:
            os.symlink(path, machine.dir / name)
            modules.append((machine.dir / name, words))
        return multiboot(elf, options, modules)
    return boot


def measure(work: Work, system: str, elf: Path, keep: Callable[[str], None] | None = None) -> Run:
    """Boot and collect until the guest is done."""
    run = Run(system)
    options = Options(1, HOST_MEM, icount=True)
    boot = _boot(work, system, elf)
    progress = ui.Progress()
    label = {"xen": "Xen 4.17", "xylem": "Xylem"}[system]
    with Machine(2 if system == "xylem" else 1) as machine:
        machine.start(command(options, boot(machine)))
        while machine.open():
            seconds = time.monotonic() - machine.started
            if seconds > work.timeout:
                raise XylemError(f"{work.title} on {label}: not done after {seconds:.0f} s\n"
                                 + "\n".join(run.lines[-10:]))
            progress.show(f"xylem: {work.title} on {label}: {seconds:.0f} s, "
                          f"{len(run.figures)} figures")
            for port, _, raw in machine.lines(0.2):
                if port:
                    continue
                if keep:
                    keep(f"{system}: {raw}")
                line = parse_log(raw)
                run.take(line.text if line else raw)
                if _BROKEN.search(raw):
                    raise XylemError(f"{work.title} on {label}:\n" + "\n".join(run.lines[-10:]))
                if re.search(work.done, raw):
                    progress.clear()
                    return run
    raise XylemError(f"{work.title} on {label}: ended early\n" + "\n".join(run.lines[-10:]))


def ratio(ours: float, theirs: float) -> float | None:
    """Xylem's figure over Xen's."""
    return ours / theirs if theirs else None


def merge(group: str, runs: list[Run]) -> list[dict[str, Any]]:
    """ops[] of the runs of both systems; one that a side lacks has None there."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    ops = []
    for name in names:
        op: dict[str, Any] = {"name": name, "group": group, "xen": None, "xylem": None,
                              "ratio": None}
        for system in ("xen", "xylem"):
            found = [run.figures[name] for run in runs
                     if run.system == system and name in run.figures]
            if not found:
                continue
            op[system] = statistics.median(figure.value for figure in found)
            op[f"{system}_min"] = min(figure.low for figure in found)
            op[f"{system}_max"] = max(figure.high for figure in found)
            op[f"{system}_samples"] = sum(figure.samples for figure in found)
            op[f"{system}_runs"] = [figure.value for figure in found]
        if op["xen"] and op["xylem"] is not None:
            op["ratio"] = ratio(op["xylem"], op["xen"])
        ops.append(op)
    return ops


def spread(op: dict[str, Any]) -> float:
    """How far the runs of one system differ from each other, at most; 0 for equal ones."""
    worst = 0.0
    for system in ("xen", "xylem"):
        values = op.get(f"{system}_runs") or [0.0]
        if max(values) > min(values):
            worst = max(worst, (max(values) - min(values)) / max(1.0, min(values)))
    return worst
