# SPDX-License-Identifier: MIT
"""Dispatch ./xylem COMMAND to its module."""

import importlib
import signal
import sys

from launch.errors import UsageError, XylemError

COMMANDS = {
    "run": "launch.run",
    "test": "launch.test",
    "iso": "launch.iso",
    "bench": "launch.bench",
    "stress": "launch.stress",
    "model": "launch.model",
    "gdb": "launch.gdb",
    "ctl": "launch.ctl",
    "plot": "launch.plot",
    "profile": "launch.profile",
}


def main(argv: list[str]) -> int:
    """Run one command; its module's main(argv) returns the exit status."""
    if not argv or argv[0] not in COMMANDS:
        word = argv[0] if argv else ""
        print(f"xylem: unknown command '{word}' (one of: {' '.join(COMMANDS)})", file=sys.stderr)
        return 2
    try:
        # Being told to end must not leave QEMU behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        # Started in the background of a script, SIGINT is ignored; --for and the benches need it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return importlib.import_module(COMMANDS[argv[0]]).main(argv[1:])
    except UsageError as error:
        print(f"xylem {argv[0]}: {error}", file=sys.stderr)
        return 2
    except XylemError as error:
        print(f"xylem {argv[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"xylem {argv[0]}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


sys.exit(main(sys.argv[1:]))
