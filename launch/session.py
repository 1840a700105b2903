# SPDX-License-Identifier: MIT
"""One run of the hypervisor from start to end, and what came of it."""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

from launch import memory, ui
from launch.console import Terminal
from launch.control import ControlServer, check_words
from launch.errors import UsageError, XylemError
from launch.machine import (EXIT_GUEST_FAILED, EXIT_PANIC, EXIT_SUCCESS, Machine, Options,
                            command, hypervisor_status)
from launch.plan import Plan
from launch.records import GuestResult, LogLine, Results
from launch.units import MIB

GRACE_S = 20.0  # for guests to be ended after 'q'
GOOD_ENDS = ("off", "destroyed")


@dataclass
class Limits:
    """When to stop."""

    seconds: float | None = None  # --for, counted from all pCPUs online
    timeout: float | None = None  # --timeout, counted from QEMU's start
    one_failed: bool = False  # end all guests when one has failed


@dataclass
class Outcome:
    """How a run ended."""

    results: Results
    status: int
    what: str
    wall_s: float


class Session:
    """Drives one Machine; on_line(line, raw) is called for each line of the log."""

    def __init__(self, plan: Plan, options: Options, limits: Limits,
                 on_line: Callable[[LogLine | None, str], None], attach: str | None = None,
                 log: IO[str] | None = None) -> None:
        self._options, self._limits, self._on_line = options, limits, on_line
        self._attach, self._log = attach, log
        self._ending = ""  # why 'q' was sent
        self._deadline: float | None = None
        self._for_at: float | None = None
        self._failed = False  # a guest has, and all shall end
        self._server: ControlServer | None = None
        self.control = False  # whether ./xylem ctl may connect
        self.on_sample: Callable[[], None] | None = None  # after each memory sample
        self.results = Results({guest.name: GuestResult(guest.name, guest.kind, guest.vcpus,
                                                        guest.mem / MIB)
                                for guest in plan.guests})
        self.progress = ui.Progress()

    def _quit(self, machine: Machine, why: str) -> None:
        """Ask the hypervisor to end all guests."""
        self._ending = why
        self._deadline = time.monotonic() + GRACE_S
        machine.send(1, b"q\n")

    def _status_line(self, machine: Machine) -> str:
        guests = self.results.guests.values()
        up = sum(guest.userspace_s is not None for guest in guests)
        ended = sum(guest.state not in ("running", "not started") for guest in guests)
        online = self.results.pcpus_online
        boot = f"{online} pCPUs online" if online else "booting"
        return (f"xylem: {time.monotonic() - machine.started:.0f} s: {boot}; {up} of "
                f"{len(guests)} guests up, {ended} ended")

    def _tick(self, machine: Machine) -> str:
        """Check the clocks; returns why the machine must be killed now, or ''."""
        now = time.monotonic()
        if self._limits.timeout and now - machine.started > self._limits.timeout:
            return "timeout"
        if self._for_at and now > self._for_at and not self._ending:
            self._quit(machine, "for")
        if self._failed and not self._ending:
            self._quit(machine, "failed")
        if self._deadline and now > self._deadline:
            return self._ending
        return ""

    def _take(self, port: int, when: float, line: str) -> None:
        if port == 0:
            if self._log:
                self._log.write(f"{line}\n")
            self._on_line(self.results.take_log(line), line)
            self.progress.quiet()
        elif port == 1:
            record = self.results.take_record(line)
            if self._log and record and record["ev"] not in ("stat", "mem", "locks"):
                self._log.write(f"{line}\n")
            if record and record["ev"] == "ctl" and self._server:
                if record.get("locks"):
                    record["locks"] = self.results.locks.last
                self._server.take(record)
            if record and record["ev"] == "mem" and "total" in record and self.on_sample:
                self.on_sample()
            if record and record["ev"] == "boot" and self._limits.seconds:
                self._for_at = when + self._limits.seconds
            if record and record["ev"] == "end" and self._limits.one_failed \
                    and record["state"] not in GOOD_ENDS:
                self._failed = True

    def _listen(self, machine: Machine, stack: ExitStack) -> None:
        try:
            self._server = stack.enter_context(ControlServer(
                machine.selector, lambda *what: self._command(machine, *what)))
        except (XylemError, OSError) as error:
            ui.say(f"./xylem ctl will not work: {error}")

    def _command(self, machine: Machine, client: socket.socket, words: list[str]) -> None:
        """A command of ./xylem ctl."""
        assert self._server
        try:
            check_words(words)
            if words[0] == "list":
                self._server.answer(client, {"ok": True, **self._listing()})
                return
            if self.results.boot_s is None:
                raise UsageError(f"{words[0]}: the hypervisor is still booting")
            # A name stands first wherever there is one; the hypervisor looks it up again.
            if len(words) == 3 and words[0] not in ("set", "create"):
                self._check_name(words)
        except UsageError as error:
            self._server.answer(client, {"ok": False, "error": str(error)})
            return
        machine.send(1, self._server.forward(client, words))

    def _check_name(self, words: list[str]) -> None:
        guest = self.results.guests.get(words[1])
        if guest is None:
            names = list(self.results.guests)
            raise UsageError(f"{words[0]}: no guest is called '{words[1]}' (there are: "
                             f"{' '.join(names[:20])}{' ...' if len(names) > 20 else ''})")
        if guest.state != "running":
            raise UsageError(f"{words[0]}: {words[1]} is {guest.state}")

    def _listing(self) -> dict[str, Any]:
        log = self.results.memory
        pages = log.last.guests if log.last else {}
        return {"guests": [{"name": guest.name, "state": guest.state, "vcpus": guest.vcpus,
                            "mem_mib": guest.mem_mib,
                            "memory": pages.get(guest.name) if guest.state == "running" else None}
                           for guest in self.results.guests.values()],
                "total": log.last.total if log.last else {},
                "headline": memory.headline(log, log.last) if log.last else ""}

    def _pump(self, machine: Machine, terminal: Terminal | None) -> str:
        """Until QEMU closes its ports; returns why it was killed, or ''."""
        partial = [b""] * self._options.ports
        while machine.open():
            try:
                why = self._tick(machine)
                if why:
                    return why
                for port, when, data in machine.poll(0.2):
                    if port < 0 and terminal:
                        keys, leave, ended = terminal.read()
                        machine.send(2, keys)
                        if ended:
                            machine.selector.unregister(terminal)
                        if leave:
                            self._quit(machine, "left")
                    elif port == 2:
                        Terminal.write(data)
                    else:
                        *lines, partial[port] = (partial[port] + data).split(b"\n")
                        for line in lines:
                            self._take(port, when, line.decode(errors="replace").rstrip("\r"))
                if not terminal:
                    self.progress.show(self._status_line(machine))
            except KeyboardInterrupt:
                if self._ending:
                    return "interrupted"
                self.progress.clear()
                ui.say("ending the guests (again: at once)")
                self._quit(machine, "interrupted")
        return ""

    def run(self, boot: Callable[[Machine], list[str]]) -> Outcome:
        """Boot what boot(machine) says; returns how it ended."""
        stack = ExitStack()
        try:
            machine = stack.enter_context(Machine(self._options.ports))
            what_to_boot = boot(machine)
            machine.start(command(self._options, what_to_boot))
            if self.control:
                self._listen(machine, stack)
            terminal = None
            if self._attach:
                terminal = stack.enter_context(Terminal())
                machine.selector.register(terminal, selectors.EVENT_READ, "terminal")
            why = self._pump(machine, terminal)
            if why:
                machine.kill()
            code = machine.wait(10)
            self.progress.clear()
            return self._outcome(machine, why, code)
        finally:
            stack.close()

    def _outcome(self, machine: Machine, killed: str, code: int | None) -> Outcome:
        status = hypervisor_status(code) if code is not None and not killed else None
        wall = time.monotonic() - machine.started
        guests = self.results.guests.values()
        if status == EXIT_PANIC or self.results.panic:
            return Outcome(self.results, 3, "panic", wall)
        if killed in ("timeout", "interrupted"):
            return Outcome(self.results, 1, killed, wall)
        if status is None and not killed:
            reason = {0: "the machine was reset", None: "QEMU hangs"}.get(
                code, f"QEMU ended with status {code}: {machine.errors()}")
            return Outcome(self.results, 1, f"error: {reason}", wall)
        if status is not None and status not in (EXIT_SUCCESS, EXIT_GUEST_FAILED):
            return Outcome(self.results, 1, f"error: unknown exit status {status:#x}", wall)
        good = set(GOOD_ENDS)
        if self._ending in ("for", "left"):
            good |= {"killed", "running"}
        fine = all(guest.state in good for guest in guests)
        what = {"for": "stopped", "left": "left"}.get(self._ending, self._ending) or "done"
        if self._ending == "interrupted":
            fine = False
        return Outcome(self.results, 0 if fine else 1, what if fine or self._ending else "failed",
                       wall)
