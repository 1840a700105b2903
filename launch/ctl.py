# SPDX-License-Identifier: MIT
"""./xylem ctl: look at and steer a running instance."""

import argparse
import json
from typing import Any

from launch import contention, control, memory, table
from launch.errors import Parser, UsageError, XylemError
from launch.units import parse_int, parse_seconds

EPILOG = """\
Commands:
  list                    guests with their state and memory
  create NAME LIKE [WORD...]
                          a new guest, as the one called LIKE was described to ./xylem run; the
                          words are added to its kernel command line
  destroy NAME            end a guest at once
  pin NAME CPUS           let its vCPUs run on these pCPUs only (all, or as 0-3+5)
  balloon NAME PAGES      ask the guest to give up so many pages (0: to take all back;
                          auto: as many as the policy wants)
  shares NAME N           the guest's memory shares
  min NAME PAGES          memory that is never taken from the guest
  tax PCT                 idle-memory tax, 0 to 100
  scan-rate N             pages that the scanners may look at per second, all together
  scan-rate NAME N        ... of one guest (0: do not scan it)
  mem-period MS           time between two memory records (0: none)
  set KEY VALUE           any setting, as --set
  locks                   what contention has cost since the start (./xylem profile locks)
  say NAME WORD           type a line at the guest's console

Exit status: 0 done, 1 the instance could not, 2 wrong words.
"""


def choose(text: str | None) -> int:
    """The instance that is meant."""
    running = control.instances()
    if text is not None:
        pid = parse_int(text, "--run", 1, 1 << 30)
        if pid not in running:
            raise UsageError(f"--run: no instance has process id {pid}"
                             + (f" (there are: {' '.join(map(str, running))})" if running else ""))
        return pid
    if not running:
        raise XylemError("nothing is running (start it with ./xylem run)")
    if len(running) > 1:
        raise UsageError(f"several instances are running: choose one with --run "
                         f"({' '.join(map(str, running))})")
    return running[0]


def show(reply: dict[str, Any]) -> str:
    """An answer as text."""
    if "guests" in reply:
        header = ["guest", "state", "vCPUs", "given", "allocated", "active", "shared", "saved",
                  "ballooned", "swapped", "broken", "scanned", "hints", "shares"]
        rows = []
        for guest in reply["guests"]:
            pages = guest.get("memory") or {}
            given = pages.get("given", guest["mem_mib"] * memory.PAGES_PER_MIB)
            rows.append([guest["name"], guest["state"], str(guest["vcpus"]), memory.mib(given),
                         *(memory.mib(pages.get(key)) for key in header[4:10]),
                         *(str(pages.get(key, "-")) for key in header[10:])])
        lines = table.plain(header, rows)
        if reply.get("headline"):
            lines.append(reply["headline"])
        return "\n".join(lines)
    if "locks" in reply:
        return contention.report(reply["locks"])
    return ", ".join(f"{key} {value}" for key, value in reply.items() if key != "ok") or "done"


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem ctl", description="Look at and steer a running instance: its "
                    "guests and their memory.", epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", metavar="PID", help="which instance, when there are several: "
                        "the process id of its ./xylem run")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--timeout", metavar="SECONDS", default="10", help="wait so long (10)")
    parser.add_argument("words", metavar="COMMAND", nargs="*", help="see below")
    args = parser.parse_args(argv)
    timeout = parse_seconds(args.timeout, "--timeout")
    words = control.check_words(args.words)
    reply = control.ask(choose(args.run), words, timeout)
    if args.json:
        print(json.dumps(reply))
    elif reply.get("ok"):
        print(show(reply))
    if not reply.get("ok"):
        raise XylemError(str(reply.get("error", "no reason given")))
    return 0
