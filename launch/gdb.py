# SPDX-License-Identifier: MIT
"""./xylem gdb: boot under QEMU, stopped at its first instruction, gdb attached."""

import os
import subprocess
import sys

from launch import build, plan, ui
from launch.errors import Parser, UsageError
from launch.machine import Machine, Options, command, multiboot
from launch.run import check_early, machine_options, settings
from launch.units import parse_int


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem gdb",
                    description="Boot Xylem stopped and attach gdb with its symbols. The log "
                                "goes to a file that gdb's start-up line names.")
    machine_options(parser)
    parser.add_argument("--port", default="1234", help="TCP port of QEMU's gdb stub (1234)")
    parser.add_argument("--break", dest="where", metavar="FUNCTION", default="",
                        help="continue to this function first")
    parser.add_argument("--print", dest="only_print", action="store_true",
                        help="only print gdb's command line and wait")
    parser.add_argument("--batch", metavar="GDB_COMMAND", action="append", default=[],
                        help="run this gdb command and leave; may be repeated")
    args = parser.parse_args(argv)
    port = parse_int(args.port, "--port", 1, 65535)
    if args.where and not args.where.replace("_", "").isalnum():
        raise UsageError(f"--break: '{args.where}' is not a function name")
    pcpus, mem, guests = check_early(args)
    where = build.hypervisor()
    mini = build.mini_kernel(where) if any(g.family == "mini" for g in guests) else None
    boot_plan = plan.make_plan(guests, mini, settings(args))
    options = Options(pcpus, plan.host_memory(boot_plan, mem), qemu_args=args.qemu_arg)
    with Machine() as machine:
        qemu = command(options, multiboot(where / "xylem.elf", " ".join(args.hv),
                                          boot_plan.stage(machine.dir)))
        log = machine.dir / "log"
        qemu += ["-gdb", f"tcp:127.0.0.1:{port}", "-S", "-serial", f"file:{log}",
                 "-serial", f"file:{machine.dir / 'records'}"]
        # Its own process group, so that Ctrl-C reaches gdb only.
        process = subprocess.Popen(qemu, stdin=subprocess.DEVNULL, start_new_session=True)
        debugger = ["gdb", "-q", str(where / "xylem64.elf"),
                    "-ex", f"target remote 127.0.0.1:{port}"]
        if args.where:
            debugger += ["-ex", f"hbreak {args.where}", "-ex", "continue"]
        for line in args.batch:
            debugger += ["-ex", line]
        if args.batch:
            debugger.insert(1, "-batch")
        ui.say(f"log: {log}")
        ui.say(" ".join(f"'{word}'" if " " in word else word for word in debugger))
        try:
            if args.only_print:
                return process.wait()
            return subprocess.run(debugger, check=False, env=os.environ,
                                  stdin=sys.stdin).returncode
        except KeyboardInterrupt:
            return 130
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
