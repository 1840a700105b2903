# SPDX-License-Identifier: MIT
"""Host parts of the stress suite: programs that run again and again with other seeds."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from launch import build, ui
from launch.suite_result import Job, Result

PRESETS = {"plain": "host", "asan": "asan-ubsan", "tsan": "tsan"}
SANS = tuple(PRESETS)
RUN_S = 600  # no single run takes longer, unless it hangs

# part: its programs (target, path, arguments; {seed} and {seconds} are filled in) and title
_CRITERION = ["--jobs", "1", "--verbose"]
PROGRAMS: dict[str, tuple[str, list[tuple[str, str, list[str]]]]] = {
    "host-churn": ("domains created, destroyed, pinned and ended while their vCPUs go down and up, "
                   "set timers and send events",
                   [("test_create_storm", "tests/test_create_storm", _CRITERION)]),
    "host-domains": ("many domains built, started, stopped and ended by all pCPUs at once",
                     [("test_domain_threads", "tests/test_domain_threads", _CRITERION)]),
    "host-events": ("event channels, 2-level and FIFO: sends, binds, closes, polls, teardown",
                    [("test_evtchn_race", "tests/test_evtchn_race", _CRITERION)]),
    "host-mmu": ("page tables, mappings and names changed by all pCPUs",
                 [("test_mm_storm", "tests/test_mm_storm", _CRITERION)]),
    "host-sched": ("units that start, wake, move, park and stop on all pCPUs",
                   [("test_sched_stress", "tests/test_sched_stress", _CRITERION)]),
    "host-memory": ("sharing, balloon, swap and page tables under torture, with an oracle",
                    [("stress_torture", "stress/torture", ["--seconds", "{seconds}", "--seed",
                                                           "{seed}"])]),
}
TITLES = {name: title for name, (title, _) in PROGRAMS.items()}


def count_operations(text: str) -> int:
    """What a program says that it did; of a test that counts nothing, the tests that it ran."""
    said = [int(number) for groups in re.findall(
        r"^ +operations +(\d+)$|\boperations=(\d+)|(\d+) sends", text, re.M)
        for number in groups if number]
    tests = re.search(r"Passing: (\d+)", text)
    return sum(said) or (int(tests[1]) if tests else 0)


def environment(seed: int) -> dict[str, str]:
    """Seeds for the tests, and sanitizers that end a program at the first find."""
    return dict(os.environ, SEED=str(seed), XYLEM_SEED=str(seed),
                TSAN_OPTIONS="halt_on_error=1", UBSAN_OPTIONS="print_stacktrace=1")


def once(where: Path, program: tuple[str, str, list[str]], seconds: int, seed: int) -> tuple[int,
                                                                                         str]:
    """One run; (status, output)."""
    _, path, args = program
    words = [word.format(seconds=max(1, seconds), seed=seed) for word in args]
    command = ["env", *(f"{key}={value}" for key, value in environment(seed).items()
                        if os.environ.get(key) != value), str(where / path), *words]
    return ui.watch(f"{Path(path).name}, seed {seed}", command, timeout=RUN_S + 3 * seconds)


def run(job: Job) -> Result:
    """The part's programs, again and again until the time is over."""
    result = job.result()
    _, programs = PROGRAMS[job.part]
    where = build.build(PRESETS[job.san], [program[0] for program in programs],
                        f"{job.part} ({job.san})")
    start, rounds = time.monotonic(), 0
    while not rounds or time.monotonic() - start < job.seconds:
        for program in programs:
            left = round(job.seconds - (time.monotonic() - start))
            seed = job.seed + rounds
            status, text = once(where, program, left, seed)
            result.operations += count_operations(text)
            if status:
                result.wrong.append(
                    f"{program[1]}: status {status}, SEED={seed}\n" + "\n".join(
                        text.splitlines()[-40:]))
                return result
        rounds += 1
    result.note = f"{rounds} runs"
    return result


PARTS: dict[str, Callable[[Job], Result]] = {name: run for name in PROGRAMS}
