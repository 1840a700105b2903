# SPDX-License-Identifier: MIT
"""Many Linux guests on a host with far less memory than they were promised, all of them answering."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from launch import report, ui
from launch.errors import Parser
from launch.lab import Instance
from launch.memory import mib
from launch.units import format_size, parse_int, parse_size

# Linux's wall-clock watchdogs say nothing where vCPUs wait for the host's few cores.
PATIENT = "nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
SCAN_RATE = 50000  # pages per second, all together
ANSWER = "xylem-answer "
KEYS = ("given", "touched", "used", "shared", "saved", "swapped", "ballooned")


@dataclass
class Guest:
    """What one guest has said."""

    name: str
    answers: list[float] = field(default_factory=list)  # when, seconds of the hypervisor's time
    delays: list[float] = field(default_factory=list)  # from question to answer, by our clock
    wrong: int = 0
    read: int = 0  # lines looked at

    def take(self, texts: list[tuple[float, str]]) -> list[str]:
        """New lines; returns the questions that they answer."""
        out = []
        for seconds, text in texts:
            if text.startswith(ANSWER):
                _, word, verdict = (text + " - -").split()[:3]
                self.answers.append(seconds)
                self.wrong += verdict != "ok"
                out.append(word)
        return out

    def silence(self, start: float, end: float) -> float:
        """The longest time without an answer between two moments."""
        times = [start, *(t for t in self.answers if start <= t <= end), end]
        return max(b - a for a, b in zip(times, times[1:]))


class Quiz:
    """Asks all guests again and again."""

    def __init__(self, lab: Instance, names: list[str]) -> None:
        self._lab = lab
        self.guests = [Guest(name) for name in names]
        self.rounds = 0

    def now(self) -> float:
        """Seconds of the hypervisor's clock, as far as the log tells."""
        return max((lines[-1].seconds for lines in self._lab.lines.values() if lines), default=0.0)

    def _take(self, asked: dict[str, float], word: str) -> None:
        for guest in self.guests:
            lines = self._lab.lines.get(guest.name, [])
            new, guest.read = lines[guest.read:], len(lines)
            if word in guest.take([(line.seconds, line.text) for line in new]) \
                    and guest.name in asked:
                guest.delays.append(time.monotonic() - asked.pop(guest.name))

    def round(self, patience: float) -> list[str]:
        """One question to each; returns who did not answer in time."""
        word = f"q{self.rounds}"
        self.rounds += 1
        asked: dict[str, float] = {}
        for guest in self.guests:
            asked[guest.name] = time.monotonic()
            self._lab.ctl("say", guest.name, word)

        def all_in() -> bool:
            self._take(asked, word)
            return not asked

        self._lab.until(all_in, f"question {self.rounds}", patience, must=False)
        return list(asked)


def ask_all(lab: Instance, quiz: Quiz, seconds: float, period: float, patience: float) -> list[str]:
    """Rounds of questions for some time; returns what is wrong."""
    wrong: list[str] = []
    end = time.monotonic() + seconds
    while not wrong and (time.monotonic() < end or quiz.rounds < 2):
        start = time.monotonic()
        wrong = [f"{name}: no answer to question {quiz.rounds} in {patience:.0f} s"
                 for name in quiz.round(patience)]
        rest = max(0.0, start + period - time.monotonic())
        pause = time.monotonic() + min(rest, max(0.0, end - time.monotonic()))
        lab.until(lambda until=pause: time.monotonic() >= until,  # type: ignore[misc]
                  f"{quiz.rounds} questions answered by all", rest + 60)
    return wrong + [f"{guest.name}: {guest.wrong} answers with a wrong sum"
                    for guest in quiz.guests if guest.wrong]


def after(lab: Instance, data: dict[str, Any], names: list[str]) -> list[str]:
    """What is wrong with how the guests ended."""
    wrong = [f"{guest['name']}: {guest['state']} ({guest['reason']})"
             for guest in data["guests"] if guest["state"] != "off"]
    return wrong + [f"{name}: {line.text}" for name in names for line in lab.lines.get(name, ())
                    if line.text.startswith("xylem-dmesg")
                    and not line.text.startswith("xylem-dmesg-clean")][:40]


def run(args: Any, names: list[str], words: list[str], timeout: float) -> dict[str, Any]:
    """Boot, ask, end; the results."""
    with Instance("stress many", words, timeout) as lab:
        def ready() -> int:
            return sum(lab.seen(name, "xylem-answering") for name in names)

        while ready() < len(names):
            before = ready()
            lab.until(lambda known=before: ready() > known,  # type: ignore[misc]
                      f"{before} of {len(names)} guests ready", timeout)
        ready_s = lab.age
        quiz = Quiz(lab, names)
        start = quiz.now()
        ui.say(f"all {len(names)} guests are up after {ready_s:.0f} s")
        wrong = ask_all(lab, quiz, args.seconds, args.period, args.patience)
        end = quiz.now()
        found = {f"{key}_pages": int(lab.total.get(key, 0)) for key in KEYS}
        for name in names:
            lab.ctl("say", name, "end")
        while lab.running():
            lab.update("ending")
            time.sleep(0.5)
        data = lab.document()
        if args.log:
            lab.keep_log(Path(args.log))
        wrong += after(lab, data, names)
    rows = [{"name": guest.name, "answers": len(guest.answers), "wrong": guest.wrong,
             "longest_silence_s": guest.silence(start, end),
             "delay_median_s": median(guest.delays) if guest.delays else None,
             "delay_most_s": max(guest.delays, default=None)} for guest in quiz.guests]
    peaks = {f"{key}_pages": max((int(sample["total"].get(key) or 0)
                                  for sample in data["mem_series"]), default=0) for key in KEYS}
    return {"ok": not wrong, "wrong": wrong, "ready_s": ready_s, "asked_s": end - start,
            "questions": quiz.rounds, "answers": rows, "memory_when_asked": found,
            "memory_most": peaks,
            **{key: data[key] for key in ("guests", "memory", "mem_series", "wall_s")}}


def show(result: dict[str, Any], mem: int) -> None:
    """The table."""
    rows = result["answers"]
    silence = [row["longest_silence_s"] for row in rows]
    delays = [row["delay_most_s"] for row in rows if row["delay_most_s"] is not None]
    print(report.render(["MiB", "", "when asked", "most"], [
        [key, "", mib(result["memory_when_asked"][f"{key}_pages"]),
         mib(result["memory_most"][f"{key}_pages"])] for key in KEYS]))
    given = result["memory_most"]["given_pages"] / 256
    print(f"{len(rows)} guests promised {given:.0f} MiB on {mem} MiB ({given / mem:.1f}x): "
          f"{min(row['answers'] for row in rows)} to {max(row['answers'] for row in rows)} answers "
          f"each to {result['questions']} questions in {result['asked_s']:.0f} s, "
          f"{sum(row['wrong'] for row in rows)} wrong")
    if delays:
        middle = median(row["delay_median_s"] for row in rows if row["delay_median_s"] is not None)
        print(f"answer after {middle:.1f} s (median), {max(delays):.1f} s at most; "
              f"longest silence of a guest {max(silence):.1f} s")


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem stress many", description=__doc__,
                    epilog="Each guest makes a file of its own and then answers what is typed at "
                           "its console, each time with a check of that file and of one that all "
                           "have. When all are up each is asked every few seconds; one that "
                           "stays silent, finds a wrong byte or a kernel message of trouble, or "
                           "does not end cleanly fails the run.")
    parser.add_argument("--guests", metavar="N", help="how many (64; small: 6)")
    parser.add_argument("--guest-mem", metavar="SIZE", help="of each (256M; small: 96M)")
    parser.add_argument("--mem", metavar="SIZE", help="host memory (4G; small: 320M)")
    parser.add_argument("--pcpus", metavar="N", default="4", help="physical CPUs (4)")
    parser.add_argument("--seconds", metavar="N", help="ask for so long (300; small: 10)")
    parser.add_argument("--period", metavar="N", help="seconds between two questions to a guest, "
                        "if all have answered the first (20; small: 3)")
    parser.add_argument("--patience", metavar="N", default="120",
                        help="seconds a guest may take to answer (120)")
    parser.add_argument("--timeout", metavar="N", default="2400",
                        help="seconds for all guests to come up (2400)")
    parser.add_argument("--small", action="store_true", help="few and small guests")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--log", metavar="FILE", help="write the whole log there")
    args = parser.parse_args(argv)
    count = parse_int(args.guests or ("6" if args.small else "64"), "--guests", 1, 1000)
    each = parse_size(args.guest_mem or ("96M" if args.small else "256M"), "--guest-mem")
    mem = parse_size(args.mem or ("320M" if args.small else "4G"), "--mem")
    pcpus = parse_int(args.pcpus, "--pcpus", 1, 255)
    args.seconds = parse_int(args.seconds or ("10" if args.small else "300"), "--seconds", 1, 10**6)
    args.period = parse_int(args.period or ("3" if args.small else "20"), "--period", 1, 10**4)
    args.patience = parse_int(args.patience, "--patience", 1, 10**4)
    timeout = parse_int(args.timeout, "--timeout", 1, 10**6)
    words = ["--pcpus", str(pcpus), "--mem", format_size(mem), "--scan-rate", str(SCAN_RATE),
             "--mem-period", "2000", "--guest",
             f"linux:{count},mem={format_size(each)},cmdline=quiet {PATIENT} xylem.task=answer"]
    ui.say(f"stress many: {count} guests with {format_size(each)} on {format_size(mem)}")
    names = [f"linux{index + 1}" for index in range(count)]
    result = run(args, names, words, timeout + args.seconds + 600)
    for text in result["wrong"]:
        print(f"stress many: {text}")
    show(result, mem >> 20)
    if args.json:
        report.write_json(Path(args.json), {
            "schema": 1, "pcpus": pcpus, "mem_mib": mem >> 20, "guest_mib": each >> 20,
            "period_s": args.period, "patience_s": args.patience, **result})
    print(f"stress many: {'ok' if result['ok'] else 'FAILED'}", flush=True)
    return 0 if result["ok"] else 1
