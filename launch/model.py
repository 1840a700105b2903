# SPDX-License-Identifier: MIT
"""./xylem model: explore the protocol models of stress/model with Spin, every state of them."""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launch import ui
from launch.errors import Parser, UsageError, XylemError
from launch.paths import ROOT
from launch.tally import Tally

SOURCES = ROOT / "stress" / "model"
DEPTH = 100000  # steps; Spin says when a search is cut off there
SECONDS = 900  # of one search; the longest takes some 100 s on an idle machine
RESULT = re.compile(r"depth reached (\d+), errors: (\d+)")
STORED = re.compile(r"^ *([\d.e+]+) states, stored", re.MULTILINE)
MEMORY = re.compile(r"^ *([\d.]+)\s+total actual memory", re.MULTILINE)
ERROR = re.compile(r"^pan:\d+: (.*) \(at depth (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class Model:
    """A model, what it shows, and the defines that break it with what each leaves out."""

    name: str
    source: str
    shows: str
    defines: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]


_LEAF = (
    ("EXCHANGE", "entries of replaceable frames present at once, not pending first"),
    ("NO_RECHECK", "no second look at the word after the entry"),
    ("MISS_PENDING", "walks that do not take pending entries out"),
    ("LATE_SLOT", "rmap location recorded after the entry"),
)
_RETIRED = (
    ("NO_RETIRE_FLUSH", "retired frames freed without a flush"),
    ("NO_RETIRE_GRACE", "frames freed without a grace period"),
)

MODELS = (
    Model("guard", "guard.pml", "write-protecting a page against guests, mappers, own stores",
          ("ROUNDS=1",), (
              ("NO_FLUSH", "no flush after the guard"),
              ("NO_GRACE", "no grace period after the flush"),
              ("NO_RECHECK", "no second look at the word after the entry"),
              ("UNCHECKED_STORE", "own stores without a look at the guard"),
              ("FLUSH_IF_FOUND", "a flush only when a writable entry was found"),
          )),
    Model("share", "share.pml", "sharing a page, and breaking the share, under remaps", (), (
        *_LEAF,
        ("WRITABLE_BEFORE_FLUSH", "the copy writable before the flush"),
        ("PUT_BEFORE_FLUSH", "the reference dropped before the flush"),
        ("ONE_ALIAS", "only the faulting alias cleared"),
        ("CLEAR_OLD_ONLY", "only entries of the shared frame cleared, not those from before"),
        *_RETIRED,
    )),
    Model("share-flushed", "share.pml", "the same, flushed for after it was merged, without remaps",
          ("FLUSHES",), (
              ("EXCHANGE", "entries of replaceable frames present at once, not pending first"),
              ("NO_RECHECK", "no second look at the word after the entry"),
              ("NO_STALE_FLUSH", "taken for flushed when its entries were only cleared"),
              ("FLUSH_FIRST", "flushed before its entries were cleared"),
              ("ENTER_MERGED", "entries made while the word says that there are none"),
              ("MARK_READ", "taken for flushed though it was read since"),
          )),
    Model("swap", "share.pml", "a page that goes to swap and comes back", ("SWAP",), (
        ("SWAP_IN_PRIVATE", "writable at once when it comes back"),
        ("NO_STALE_FLUSH", "taken for flushed when its entries were only cleared"),
        ("NO_RETIRE_GRACE", "slots and frames freed without a grace period"),
    )),
    Model("balloon", "balloon.pml", "giving a name up and taking it back while its share breaks",
          (), (
              ("NO_RECHECK", "no second look at the word after the entry"),
              ("KEEP_ENTRIES", "entries not cleared"),
              ("NO_DROP_FLUSH", "the reference dropped without a flush"),
              *_RETIRED,
          )),
    Model("balloon-private", "balloon.pml", "the same with a private frame", ("FROM_PRIVATE",), (
        ("NO_RECHECK", "no second look at the word after the entry"),
        ("NO_RETIRE_FLUSH", "retired frames freed without a flush"),
    )),
    Model("balloon-shared", "balloon.pml", "the same while somebody shares or swaps it",
          ("SHARER",), (
              ("DROP_OLD_ONLY", "only entries of the last frame cleared, not those from before"),
          )),
    Model("late", "late.pml", "frames entered late wait for a second grace period", (), (
        ("NO_LATE", "one grace period only"),
    )),
    Model("hint", "hint.pml", "promoting a hint against its owner's writes; reference counts",
          (), (
              ("UNSETTLED", "a guard trusted before its flush and grace period"),
              ("UNCHECKED_PROMOTE", "promotion without a look at the word"),
              ("RESURRECT", "a count that fell to 0 looks like a new one"),
              ("GET_FROM_ZERO", "references given out when none is left"),
              ("NO_GRACE", "frames freed without a grace period"),
          )),
    Model("retire", "retire.pml", "flushes by loads and by tickets before a frame is reused", (), (
        ("NO_GRACE", "no grace period after the pCPUs' epochs moved on"),
        ("LOADED_LATE", "the loaded address space named after the CR3 write"),
        ("LOOK_FIRST", "pCPUs looked at before the entry is cleared"),
        ("TICKET_AFTER_FLUSH", "the ticket read after the flush"),
    )),
)


@dataclass
class Outcome:
    """What a search came to; problem is '' when it was complete and found nothing."""

    states: int = 0
    depth: int = 0
    memory: float = 0.0
    seconds: float = 0.0
    problem: str = ""
    violated: bool = False
    text: str = ""


def _step(command: list[str], where: Path, seconds: int | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False,
                              timeout=seconds, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise XylemError(f"no program '{command[0]}'") from None
    if done.returncode and command[0] != "./pan":
        raise XylemError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _judge(text: str) -> Outcome:
    out = Outcome(text=text)
    result, stored = RESULT.search(text), STORED.search(text)
    if not result or not stored:
        out.problem = "the search did not end"
        return out
    out.depth, out.states = int(result[1]), int(float(stored[1]))
    memory = MEMORY.search(text)
    out.memory = float(memory[1]) if memory else 0.0
    error = ERROR.search(text)
    if error:
        out.problem = f"{error[1]} (at depth {error[2]})"
        out.violated = error[1].startswith("assertion violated")
    elif result[2] != "0":
        out.problem = f"{result[2]} errors"
    elif "Search not completed" in text or "max search depth too small" in text:
        out.problem = "the search was not complete"
    return out


def explore(model: Model, broken: str, seconds: int, memory: int) -> Outcome:
    """Search one model, or one broken variant of it, in a directory of its own."""
    defines = [f"-D{word}" for word in (*model.defines, broken) if word]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="xylem-model-") as temp:
        where = Path(temp)
        source = str(SOURCES / model.source)
        _step(["spin", "-a", *defines, source], where)
        # Variants end early: compiling would cost more than it saves.
        _step(["gcc", "-O0" if broken else "-O1", "-w", "-DSAFETY", "-DCOLLAPSE",
               f"-DMEMLIM={memory}", "-o", "pan", "pan.c"], where)
        try:
            text = _step(["./pan", f"-m{DEPTH}", "-w22"], where, seconds)
            out = _judge(text)
        except subprocess.TimeoutExpired:
            out = Outcome(problem=f"not explored in {seconds} s")
        if out.violated and not broken:
            trail = next(where.glob("*.trail"), None)
            if trail:
                out.text += _step(["spin", "-k", str(trail), "-p", *defines, source], where)
    out.seconds = time.monotonic() - begun
    return out


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def check(tally: Tally, models: tuple[Model, ...] = MODELS, broken: bool = True,
          seconds: int = SECONDS, memory: int = 512, workers: int | None = None) -> None:
    """Every model holds, and each broken variant is caught: one check each."""
    jobs = [(model, variant, what) for model in models
            for variant, what in (("", ""), *(model.broken if broken else ()))]
    # The long searches first.
    jobs.sort(key=lambda job: bool(job[1]))
    progress = ui.Progress()
    total = 0
    with ThreadPoolExecutor(workers or min(2, os.cpu_count() or 1)) as pool:
        running = [pool.submit(explore, model, variant, seconds, memory)
                   for model, variant, _ in jobs]
        try:
            for (model, variant, what), future in zip(jobs, running):
                while not future.done():
                    progress.show(f"xylem: {sum(f.done() for f in running)} of {len(jobs)} "
                                  "searches done")
                    time.sleep(0.1)
                out = future.result()
                progress.clear()
                total += out.states
                size = f"{_count(out.states)} states, depth {out.depth}"
                if variant:
                    tally.add(f"{model.name} with {variant} ({what}): "
                              + (f"caught, {size}" if out.violated else "NOT caught"),
                              out.violated, out.problem or size)
                else:
                    tally.add(f"{model.name}: {model.shows}: {size}, {out.memory:.0f} MiB, "
                              f"{out.seconds:.0f} s", not out.problem,
                              f"{out.problem}\n{out.text[-6000:]}")
        finally:
            for future in running:
                future.cancel()
    print(f"        {_count(total)} states in {len(jobs)} searches", flush=True)


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem model",
                    description="Explore the models of the memory protocols with Spin, fully; "
                    "each must hold, and each deliberately broken variant must be caught. "
                    "See stress/model/README.md.",
                    epilog="Models: " + ", ".join(model.name for model in MODELS) + ".")
    parser.add_argument("--only", metavar="NAME", action="append",
                        help="only this model (may be given again)")
    parser.add_argument("--no-broken", action="store_true",
                        help="leave the broken variants out")
    parser.add_argument("--seconds", type=int, default=SECONDS, metavar="N",
                        help=f"a search that takes longer is an error ({SECONDS})")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB",
                        help="a search that needs more is an error (512); two run at a time")
    args = parser.parse_args(argv)
    if args.seconds < 1 or args.memory < 128:
        raise UsageError("--seconds must be at least 1 and --memory at least 128")
    for name in args.only or []:
        if name not in [model.name for model in MODELS]:
            raise UsageError(f"--only: no model '{name}' "
                             f"(one of: {' '.join(model.name for model in MODELS)})")
    tally = Tally()
    tally.group("models of the memory protocols (Spin)")
    check(tally, tuple(model for model in MODELS if not args.only or model.name in args.only),
          not args.no_broken, args.seconds, args.memory)
    sys.stdout.flush()
    return tally.finish()
