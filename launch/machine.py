# SPDX-License-Identifier: MIT
"""One QEMU: its command line, its serial ports, its end."""

import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launch.errors import XylemError

QEMU = "qemu-system-x86_64"
EXIT_SUCCESS = 0x10
EXIT_GUEST_FAILED = 0x11
EXIT_PANIC = 0x12


@dataclass
class Options:
    """The virtual machine that the hypervisor boots on."""

    pcpus: int
    mem: int
    icount: bool = False
    qemu_args: list[str] = field(default_factory=list)
    ports: int = 2
    icount_shift: int = 0  # an instruction is 2^shift ns


def hypervisor_status(returncode: int) -> int | None:
    """What the hypervisor wrote to the exit device; None if it wrote nothing."""
    return returncode >> 1 if returncode > 0 and returncode & 1 and returncode != 1 else None


def command(options: Options, what_to_boot: list[str]) -> list[str]:
    """QEMU's command line without its serial ports."""
    if options.icount:
        accel = ["-accel", "tcg,thread=single", "-icount",
                 f"shift={options.icount_shift},sleep=off",
                 "-rtc", "base=2026-01-01T00:00:00,clock=vm"]  # the host's clock must not show
    else:
        accel = ["-accel", "tcg,thread=multi" if options.pcpus > 1 else "tcg"]
    # mem-merge: KSM would merge the machine's memory behind the hypervisor's back.
    return [QEMU, "-M", "q35,mem-merge=off", *accel, "-cpu", "max,-smap",
            "-smp", str(options.pcpus), "-m", f"{options.mem // 1048576}M",
            "-display", "none", "-monitor", "none",
            "-nodefaults", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            *what_to_boot, *options.qemu_args]


def multiboot(kernel: Path, append: str, modules: list[tuple[Path, str]]) -> list[str]:
    """Options that boot a Multiboot kernel with modules, each known by its id."""
    spelled = [f"{str(path).replace(',', ',,')} {ident}" for path, ident in modules]
    args = ["-kernel", str(kernel)]
    if append:
        args += ["-append", append]
    return [*args, "-initrd", ",".join(spelled)]


class Machine:
    """
    A running QEMU. Its serial ports are UNIX sockets in a private directory;
    everything happens in the caller's thread.
    """

    def __init__(self, ports: int = 2) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="xylem-"))
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[socket.socket] = []
        self._partial = [b""] * ports
        self.selector = selectors.DefaultSelector()
        self.started = 0.0

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for sock in self._sockets:
            sock.close()
        self.selector.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, qemu: list[str]) -> None:
        """Start QEMU with this command line plus one serial port per socket."""
        listeners = []
        args = list(qemu)
        for port in range(self._ports):
            path = self.dir / f"com{port + 1}"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(1)
            listeners.append(listener)
            args += ["-chardev", f"socket,id=com{port + 1},path={path}",
                     "-serial", f"chardev:com{port + 1}"]
        self._stderr = open(self.dir / "stderr", "wb+")
        self.started = time.monotonic()
        try:
            self._process = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                                             stdout=self._stderr, stderr=self._stderr)
        except FileNotFoundError:
            raise XylemError(f"no program '{args[0]}'") from None
        for port, listener in enumerate(listeners):
            listener.settimeout(0.1)
            while True:
                try:
                    sock, _ = listener.accept()
                    break
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise XylemError(f"QEMU did not start: {self.errors()}") from None
            listener.close()
            sock.setblocking(False)
            self._sockets.append(sock)
            self.selector.register(sock, selectors.EVENT_READ, port)

    def errors(self) -> str:
        """What QEMU itself printed."""
        self._stderr.flush()
        text = (self.dir / "stderr").read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "it printed nothing"

    def poll(self, timeout: float) -> Iterator[tuple[int, float, bytes]]:
        """(port, host time, data) of what arrived; waits at most timeout seconds."""
        for key, _ in self.selector.select(timeout):
            if callable(key.data):
                key.data(key.fileobj)
                continue
            if not isinstance(key.data, int):
                yield -1, time.monotonic(), b""
                continue
            try:
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if data:
                yield key.data, time.monotonic(), data
            else:
                self.selector.unregister(key.fileobj)

    def lines(self, timeout: float) -> Iterator[tuple[int, float, str]]:
        """Like poll, in whole lines."""
        for port, when, data in self.poll(timeout):
            if port < 0:
                continue
            *lines, self._partial[port] = (self._partial[port] + data).split(b"\n")
            for line in lines:
                yield port, when, line.decode(errors="replace").rstrip("\r")

    def send(self, port: int, data: bytes) -> None:
        """Write to a serial port; the few bytes we send always fit the socket."""
        try:
            self._sockets[port].sendall(data)
        except OSError:
            pass  # QEMU is gone, which poll() will tell

    def open(self) -> bool:
        """Whether more can arrive."""
        return any(isinstance(key.data, int) for key in self.selector.get_map().values())

    def wait(self, timeout: float) -> int | None:
        """QEMU's exit status, None while it runs."""
        assert self._process
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End QEMU, by its own process id."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
