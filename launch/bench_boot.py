# SPDX-License-Identifier: MIT
"""Boot time against Debian's Xen 4.17, by host-timestamped serial lines."""

import os
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import build, compare, debian, guestspec, initramfs, kernelimg, plan, report, ui
from launch.errors import Parser
from launch.machine import Machine, Options, command, multiboot
from launch.units import parse_int, parse_seconds, parse_size

# Serial lines that mark the stages, in the order in which they come.
XEN_MARKS = {
    "entry": r"^\(XEN\) ",
    "online": r"^\(XEN\) Brought up \d+ CPUs",
    "start": r"^\(XEN\) (Freed .* init memory|\*\*\* Serial input)",
    "userspace": r"xylem-userspace",
}
XYLEM_MARKS = {
    "entry": r"^\[.*\] xylem\| entry",
    "online": r"^\[.*\] xylem\| online \d+ pcpus",
    "start": r'"ev": *"start"',
    "userspace": r"xylem-userspace",
}
SPANS = {
    "online": ("entry", "online"),
    "userspace": ("start", "userspace"),
    "userspace_from_entry": ("entry", "userspace"),
}


@dataclass
class Run:
    """One boot; times are host seconds since QEMU's start."""

    system: str
    marks: dict[str, float] = field(default_factory=dict)

    def span(self, name: str) -> float | None:
        """Seconds of one span, None if it did not finish."""
        first, last = SPANS[name]
        if first in self.marks and last in self.marks:
            return self.marks[last] - self.marks[first]
        return None


def watch(system: str, ports: int, options: Options, marks: dict[str, str], timeout: float,
          boot: Any, label: str) -> Run:
    """Boot and note when each mark's line arrives; stops at the last mark."""
    run = Run(system)
    last = list(marks)[-1]
    progress = ui.Progress(30)
    with Machine(ports) as machine:
        machine.start(command(options, boot(machine)))
        while machine.open() and last not in run.marks:
            now = time.monotonic() - machine.started
            if now > timeout:
                break
            progress.show(f"xylem: {label}: {now:.0f} s, "
                          f"{list(run.marks)[-1] if run.marks else 'starting'}")
            for _, when, line in machine.lines(0.2):
                for name, pattern in marks.items():
                    if name not in run.marks and re.search(pattern, line):
                        run.marks[name] = when - machine.started
    progress.clear()
    return run


def median(runs: list[Run], system: str, span: str) -> float | None:
    """Median over the runs that finished."""
    values = [value for run in runs if run.system == system
              and (value := run.span(span)) is not None]
    return statistics.median(values) if values else None


def ratio(runs: list[Run], span: str) -> float | None:
    """Xylem's median over Xen's."""
    ours, theirs = median(runs, "xylem", span), median(runs, "xen", span)
    return ours / theirs if ours is not None and theirs else None


def document(runs: list[Run], settings: dict[str, Any]) -> dict[str, Any]:
    """The JSON document."""
    out: dict[str, Any] = {"schema": 1, **settings}
    for span in SPANS:
        out[f"{span}_ratio"] = ratio(runs, span)
    out["median_s"] = {system: {span: median(runs, system, span) for span in SPANS}
                       for system in ("xylem", "xen")}
    out["runs"] = [{"system": run.system, "marks_s": run.marks,
                    **{f"{span}_s": run.span(span) for span in SPANS}} for run in runs]
    return out


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem bench boot", description=__doc__,
                    epilog="Both hypervisors boot the same unpacked Debian kernel with the same "
                           "initramfs and command line, Xen's as dom0; runs alternate. Times "
                           "are taken on the host when a serial line arrives.")
    parser.add_argument("--pcpus", metavar="N", default="64", help="physical CPUs (64)")
    parser.add_argument("--vcpus", metavar="N", default="8", help="the Linux guest's vCPUs (8)")
    parser.add_argument("--mem", metavar="SIZE", default="512M", help="the guest's memory (512M)")
    parser.add_argument("--runs", metavar="N", default="5", help="runs of each (5)")
    parser.add_argument("--timeout", metavar="SECONDS", default="600", help="per run (600)")
    parser.add_argument("--only", choices=("xylem", "xen"), help="run only one of them")
    parser.add_argument("--cmdline", default="console=hvc0 quiet",
                        help="the kernel's command line (console=hvc0 quiet)")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    args = parser.parse_args(argv)
    pcpus = parse_int(args.pcpus, "--pcpus", 1, 255)
    vcpus = parse_int(args.vcpus, "--vcpus", 1, min(pcpus, guestspec.MAX_VCPUS))
    count = parse_int(args.runs, "--runs", 1, 100)
    timeout = parse_seconds(args.timeout, "--timeout")
    mem = parse_size(args.mem, "--mem")

    _, vmlinuz = debian.linux_image()
    kernel = kernelimg.load(vmlinuz, "kernel")
    initrd = initramfs.build()
    host = Options(pcpus, mem + (1536 << 20))
    guest = guestspec.Guest("linux", "linux1", vcpus=vcpus, mem=mem, kernel=vmlinuz,
                            initrd=initrd, cmdline=args.cmdline)
    boot_plan = plan.make_plan([guest], None, {})
    elf = build.hypervisor() / "xylem.elf" if args.only != "xen" else None
    xen = compare.xen_image() if args.only != "xylem" else None

    def boot_xylem(machine: Machine) -> list[str]:
        return multiboot(elf, "", boot_plan.stage(machine.dir))  # type: ignore[arg-type]

    def boot_xen(machine: Machine) -> list[str]:
        for name, path in (("vmlinux", kernel.elf), ("initrd", initrd)):
            os.symlink(path, machine.dir / name)
        options = f"console=com1 com1=115200 dom0_mem={mem >> 20}M dom0_max_vcpus={vcpus}"
        return multiboot(xen, options,  # type: ignore[arg-type]
                         [(machine.dir / "vmlinux", args.cmdline), (machine.dir / "initrd", "")])

    runs: list[Run] = []
    try:
        for index in range(count):
            label = f"run {index + 1} of {count}"
            if elf:
                runs.append(watch("xylem", 2, host, XYLEM_MARKS, timeout, boot_xylem,
                                  f"Xylem, {label}"))
            if xen:
                runs.append(watch("xen", 1, host, XEN_MARKS, timeout, boot_xen, f"Xen, {label}"))
            for run in runs[-2 if elf and xen else -1:]:
                spans = ", ".join(f"{span} {_text(run.span(span))} s" for span in SPANS)
                print(f"{run.system:6} {label}: {spans}", flush=True)
    except KeyboardInterrupt:
        ui.say("interrupted: these are the runs so far")
    settings = {"pcpus": pcpus, "vcpus": vcpus, "mem_mib": mem >> 20, "kernel": vmlinuz.name,
                "kernel_sha256": kernel.sha256, "cmdline": args.cmdline}
    data = document(runs, settings)
    print(f"\n{table(runs)}")
    if args.json:
        report.write_json(Path(args.json), data)
    finished = all(run.span(span) is not None for run in runs for span in SPANS
                   if run.system == "xylem")
    return 0 if runs and finished else 1


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def table(runs: list[Run]) -> str:
    """Medians and ratios."""
    titles = {"online": "entry to all pCPUs online",
              "userspace": "guest start to userspace",
              "userspace_from_entry": "entry to userspace"}
    rows = [[title, "s", _text(median(runs, "xylem", span)), _text(median(runs, "xen", span)),
             _text(ratio(runs, span))] for span, title in titles.items()]
    return report.render(["median", "", "Xylem", "Xen 4.17", "ratio"], rows)
