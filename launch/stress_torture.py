# SPDX-License-Identifier: MIT
"""Memory services under torture on the host build: mutators, scanners, swap, with an oracle."""

import os
import subprocess
import time
from pathlib import Path

from launch import build, ui
from launch.errors import Parser, XylemError
from launch.units import parse_int

PRESETS = {"plain": "host", "asan": "asan-ubsan", "tsan": "tsan"}
BROKEN = ("no-flush", "no-recheck", "early-free", "early-alias", "no-swap-flush", "no-share-flush")
CAUGHT = 42  # exit status of the program when it has found something
SAN_CAUGHT = (1, 66)  # what the sanitizers end a program with


def run(where: Path, seconds: int, seed: int, variant: str) -> int:
    """One run; its exit status."""
    command = [str(where / "stress" / "torture"), "--seconds", str(seconds), "--seed", str(seed),
               "--variant", variant]
    env = dict(os.environ, TSAN_OPTIONS="halt_on_error=1", UBSAN_OPTIONS="print_stacktrace=1")
    try:
        # It ends by itself, when it hangs as well; the limit is for what nobody thought of.
        return subprocess.run(command, env=env, check=False, timeout=seconds * 3 + 900).returncode
    except subprocess.TimeoutExpired:
        raise XylemError(f"the run did not end: seed {seed}, variant {variant}") from None


def good(variant: str, san: str, status: int) -> bool:
    """The intact core must pass, a broken one must be caught."""
    if variant == "none":
        return status == 0
    return status == CAUGHT or (san != "plain" and status in SAN_CAUGHT)


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem stress torture", description=__doc__,
                    epilog="Same seed: the same operations of each thread, though not the same "
                           "interleaving. A broken variant has one step of a protocol left out "
                           "and must be caught within the time.")
    parser.add_argument("--seconds", metavar="N", default="60", help="of each run (60)")
    parser.add_argument("--seed", metavar="S", help="default: from the time of day")
    parser.add_argument("--variant", choices=("none", *BROKEN, "all"), default="none",
                        help="what to leave out of the core (none); all: each in turn")
    parser.add_argument("--san", choices=tuple(PRESETS), default="plain", help="sanitizer (plain)")
    args = parser.parse_args(argv)
    seconds = parse_int(args.seconds, "--seconds", 1, 1000000)
    seed = parse_int(args.seed or str(int(time.time())), "--seed", 0, 10**17)

    where = build.build(PRESETS[args.san], ["stress_torture"], f"the torture run ({args.san})")
    wrong = []
    for variant in ("none", *BROKEN) if args.variant == "all" else (args.variant,):
        ui.say(f"torture ({args.san}): variant {variant}, {seconds} s, seed {seed}")
        status = run(where, seconds, seed, variant)
        if not good(variant, args.san, status):
            wrong.append(f"{variant} (status {status})")
        elif variant != "none":
            ui.say(f"torture: {variant} was caught")
    if wrong:
        raise XylemError("torture: not as it must be: " + ", ".join(wrong))
    return 0
