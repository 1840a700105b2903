# SPDX-License-Identifier: MIT
"""./xylem run: build, boot, show, report."""

import argparse
import re
import sys
from pathlib import Path

from launch import build, guestspec, kernelimg, memory, plan, report, ui
from launch.errors import Parser, UsageError
from launch.machine import Machine, Options, multiboot
from launch.records import LogLine
from launch.session import Limits, Session
from launch.units import format_size, parse_int, parse_seconds, parse_size

DEFAULT_GUESTS = ["linux:2,vcpus=2", "mini-hello", "mini-smp,vcpus=2", "mini-timer", "mini-proc"]

EPILOG = f"""\
KIND is one of: {' '.join(guestspec.KINDS)}.
  linux  Debian's current kernel, unmodified, with a busybox userspace
  mini   Xylem's own small guests (mini alone is mini-hello)
  pv     any Xen PV kernel: kernel=FILE (an ELF file or a bzImage)
COUNT guests are alike. Keys, separated by commas:
  vcpus=N  mem=SIZE  weight=N (256)  warp=off|WARP_US:L_US:U_US  pin=all|0-3+5
  kernel=FILE  initrd=FILE  cmdline="..."  name=NAME  script=FILE
  min=SIZE (memory that is never taken from it)  shares=N (memory shares)
A linux guest does what xylem.task= on its command line says: none, shell,
idle=SECONDS, stress=SECONDS, memstress=SECONDS or script (the file given by
script=).

Examples:
  ./xylem run
  ./xylem run --pcpus 4 --guest linux:2,vcpus=2 --guest mini:8 --json out.json
  ./xylem run --guest linux,name=sh,cmdline=xylem.task=shell --attach sh
  ./xylem run --mem 1G --guest linux:8 --tax 50 --for 60 --json out.json
  ./xylem run --guest pv,kernel=bzImage,initrd=my.cpio,vcpus=4,mem=512M

While it runs, ./xylem ctl looks at and steers its guests' memory; afterwards
./xylem plot out.json draws it.

Exit status: 0 all guests ended cleanly (or --for elapsed), 1 not so,
2 wrong options, 3 the hypervisor panicked.
"""


def parser() -> Parser:
    """Options of ./xylem run; those that describe a machine are shared with iso and gdb."""
    out = Parser(prog="./xylem run", description="Boot Xylem under QEMU and run guests on it.",
                 epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(out)
    out.add_argument("--for", dest="seconds", metavar="SECONDS",
                     help="end the guests this long after all pCPUs are online")
    out.add_argument("--timeout", metavar="SECONDS", help="kill the machine after this long")
    out.add_argument("--attach", metavar="NAME",
                     help="wire this terminal to a guest's console (Ctrl-] leaves)")
    out.add_argument("--json", metavar="FILE", help="write the results there")
    out.add_argument("--log", metavar="FILE", help="write the whole log there")
    out.add_argument("--icount", action="store_true",
                     help="deterministic time: one instruction is one ns (slow)")
    out.add_argument("--iso", action="store_true",
                     help="boot by GRUB from a CD image instead of QEMU's own loader")
    out.add_argument("--mem-view", action=argparse.BooleanOptionalAction, default=None,
                     help="show the guests' memory while they run (default: on a terminal; "
                     "elsewhere it is one line per period)")
    out.add_argument("--verbose", action="store_true", help="show everything, with time stamps")
    return out


def machine_options(out: Parser) -> None:
    """What describes a machine and its hypervisor's settings."""
    out.add_argument("--pcpus", metavar="N", default="4", help="physical CPUs, 1 to 255 (4)")
    out.add_argument("--mem", metavar="SIZE", help="host memory (what the guests need)")
    out.add_argument("--guest", metavar="KIND[:COUNT][,KEY=VALUE...]", action="append",
                     help="guests to run; may be repeated")
    out.add_argument("--qemu-arg", metavar="ARG", action="append", default=[],
                     help="pass one word on to QEMU; may be repeated")
    out.add_argument("--hv", metavar="OPTION", action="append", default=[],
                     help="pass one word on to the hypervisor's command line")
    out.add_argument("--tax", metavar="PCT", help="idle-memory tax, 0 to 100 (75)")
    out.add_argument("--scan-rate", metavar="N",
                     help="pages per second that the sharing scanners look at, 0: none")
    out.add_argument("--mem-period", metavar="MS",
                     help="time between two memory records (1000; 0: none)")
    out.add_argument("--set", metavar="KEY=VALUE", action="append", default=[],
                     help="any other setting of the hypervisor; may be repeated")


# option: (key of the hypervisor's setting, lowest, highest)
_SETTINGS = {"tax": ("mem.tax", 0, 100), "scan_rate": ("share.rate", 0, 10**9),
             "mem_period": ("mem.record_ms", 0, 3600000)}


def settings(args: argparse.Namespace) -> dict[str, str]:
    """The hypervisor's settings that the options ask for."""
    out = {}
    for name, (key, low, high) in _SETTINGS.items():
        text = getattr(args, name)
        if text is not None:
            out[key] = str(parse_int(text, f"--{name.replace('_', '-')}", low, high))
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_.]{0,50}", key) \
                or not re.fullmatch(r"[A-Za-z0-9_.:+-]{1,60}", value):
            raise UsageError(f"--set: '{text}' is not KEY=VALUE")
        out[key] = value
    return out


def check_early(args: argparse.Namespace) -> tuple[int, int | None, list[guestspec.Guest]]:
    """(pcpus, mem, guests): all that can be wrong before anything is built."""
    pcpus = parse_int(args.pcpus, "--pcpus", 1, 255)
    mem = parse_size(args.mem, "--mem") if args.mem else None
    if mem is not None and mem < 64 << 20:
        raise UsageError(f"--mem: {args.mem} is too little: at least 64M")
    guests = guestspec.expand(args.guest or DEFAULT_GUESTS, pcpus)
    for guest in guests:
        if guest.kernel:
            kernel = kernelimg.load(guest.kernel, f"--guest {guest.kind}: kernel")
            if kernel.top > guest.mem:
                raise UsageError(f"--guest {guest.kind}: kernel: needs "
                                 f"{-(-kernel.top // 1048576)}M, the guest has {guest.mem >> 20}M")
    least = sum(guest.least_mem for guest in guests)
    if mem is not None and least > mem:
        raise UsageError(f"--mem: {args.mem} is less than the {format_size(least)} that the guests "
                         "are to have at least (min=)")
    return pcpus, mem, guests


class Printer:
    """Shows the log: every line with its guest's name in front."""

    def __init__(self, names: list[str], verbose: bool, only: str | None) -> None:
        self._index = {name: index for index, name in enumerate(names)}
        self._width = max([len(name) for name in names] + [len("xylem")])
        self._verbose, self._silent = verbose, only is not None and not verbose
        self.session: Session | None = None

    def _own_table(self, line: LogLine | None) -> bool:
        """The hypervisor's final table: ours says the same and more."""
        words = line.text.split() if line and line.who == "xylem" else []
        return words[:2] == ["guest", "kind"] or (
            len(words) > 7 and words[0] in self._index and words[1] in ("linux", "mini", "pv"))

    def line(self, line: LogLine | None, raw: str) -> None:
        """One line of the log."""
        if self._silent or not raw or (not self._verbose and self._own_table(line)):
            return
        if self.session:
            self.session.progress.clear()
        if self._verbose or line is None:
            text = raw
        else:
            who = line.who.ljust(self._width)
            if line.who in self._index:
                who = ui.colour(self._index[line.who], who)
            text = f"{who} | {line.text}"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def main(argv: list[str]) -> int:
    """The command."""
    args = parser().parse_args(argv)
    seconds = parse_seconds(args.seconds, "--for") if args.seconds else None
    timeout = parse_seconds(args.timeout, "--timeout") if args.timeout else None
    chosen = settings(args)
    pcpus, mem, guests = check_early(args)
    names = [guest.name for guest in guests]
    if args.attach and args.attach not in names:
        raise UsageError(f"--attach: no guest is called '{args.attach}' "
                         f"(there are: {' '.join(names[:20])})")

    where = build.hypervisor()
    need_mini = any(guest.family == "mini" for guest in guests)
    boot_plan = plan.make_plan(guests, build.mini_kernel(where) if need_mini else None,
                               {**chosen, **({"attach": args.attach} if args.attach else {})})
    for facts in boot_plan.kernels.values():
        ui.say(f"{facts['file']}: sha256 {facts['sha256']}")
    options = Options(pcpus, plan.host_memory(boot_plan, mem), args.icount, args.qemu_arg,
                      3 if args.attach else 2)
    ui.say(f"booting on {pcpus} pCPUs, {options.mem >> 20} MiB, {len(guests)} guests"
           + ("; Ctrl-] leaves the console" if args.attach else ""))

    printer = Printer(names, args.verbose, args.attach)
    log = open(args.log, "w", encoding="utf-8", buffering=1) if args.log else None
    session = Session(boot_plan, options, Limits(seconds, timeout), printer.line, args.attach,
                      log)
    printer.session = session
    session.control = True
    show_memory(session, args)
    words = [*args.hv]

    def boot(machine: Machine) -> list[str]:
        if args.iso:
            from launch import iso  # which itself uses this module's options
            image = machine.dir / "xylem.iso"
            iso.make_iso(where, boot_plan, " ".join(words), image)
            qemu = ["-cdrom", str(image), "-boot", "d"]
        else:
            qemu = multiboot(where / "xylem.elf", " ".join(words), boot_plan.stage(machine.dir))
        if args.verbose:
            ui.say(" ".join(qemu))
        return qemu

    outcome = session.run(boot)
    if log:
        log.close()
    print(f"\n{report.table(outcome.results)}")
    memory_table = memory.final_table(outcome.results.memory)
    if memory_table:
        print(f"\n{memory_table}")
    print(f"\n{summary(outcome.what, outcome.wall_s, session)}", flush=True)
    if args.json:
        report.write_json(Path(args.json), report.document(
            outcome.results, pcpus, options.mem, outcome.status, outcome.wall_s, outcome.what,
            list(boot_plan.kernels.values())))
    return outcome.status


def show_memory(session: Session, args: argparse.Namespace) -> None:
    """Choose how memory is shown while the guests run."""
    log = session.results.memory
    if args.attach or args.mem_view is False:
        return
    if sys.stdout.isatty():
        session.progress = ui.Board(lambda height, width: memory.view(log, height, width))
    elif args.mem_view:
        def line() -> None:
            session.progress.clear()
            print(f"memory | {memory.line(log)}", flush=True)
            session.progress.quiet()
        session.on_sample = line


def summary(what: str, wall_s: float, session: Session) -> str:
    """The last line of a run."""
    results = session.results
    boot = (f"{results.pcpus_online} pCPUs online after {results.boot_s:.3f} s; "
            if results.boot_s is not None else "")
    return f"xylem: {boot}{what} after {wall_s:.1f} s"
