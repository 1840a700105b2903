# SPDX-License-Identifier: MIT
"""The control socket of a running instance, and the words that go through it."""

import json
import os
import re
import selectors
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch.errors import UsageError, XylemError
from launch.units import parse_int

PCPUS = r"all|[0-9]+(-[0-9]+)?(\+[0-9]+(-[0-9]+)?)*"
NAME, PAGES, KEY, VALUE = "NAME", "PAGES", "KEY", "VALUE"
MAX_LINE = 200  # with "ctl ID " before it still less than core/control.c takes
_SUFFIX = ".sock"


def socket_dir() -> Path:
    """Where the sockets of this user's instances are; only the user may enter."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "xylem" if base and os.path.isdir(base) \
        else Path(tempfile.gettempdir()) / f"xylem-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise XylemError(f"no directory {path} for control sockets: {error.strerror}") from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise XylemError(f"{path} is not a directory of your own")
    return path


def instances() -> list[int]:
    """Process ids of the running instances; what dead ones left is removed."""
    found = []
    for path in sorted(socket_dir().glob(f"*{_SUFFIX}")):
        if not path.stem.isdigit():
            continue
        try:
            os.kill(int(path.stem), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (PermissionError, OverflowError):
            pass  # somebody else's process has the number now
        else:
            found.append(int(path.stem))
    return found


# Each command's forms, and what each argument must be.
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "list": ((),),
    "balloon": ((NAME, f"{PAGES}|auto"),),
    "shares": ((NAME, "1-1000000"),),
    "min": ((NAME, PAGES),),
    "create": ((NAME, NAME),),  # and words for the command line
    "destroy": ((NAME,),),
    "pin": ((NAME, VALUE),),
    "tax": (("0-100",),),
    "scan-rate": (("0-1000000000",), (NAME, "0-1000000000")),
    "mem-period": (("0-3600000",),),
    "set": ((KEY, VALUE),),
    "say": ((NAME, VALUE),),
    "locks": ((),),
}
UNITS = {"shares": "N", "tax": "PCT", "scan-rate": "N", "mem-period": "MS"}


def forms(command: str) -> str:
    """How a command is written."""
    if command == "create":
        return "create NAME LIKE [WORD...]"
    if command == "pin":
        return "pin NAME all|0-3+5"
    return " or ".join(" ".join([command, *(UNITS[command] if "-" in word else word
                                            for word in form)]) for form in COMMANDS[command])


def check_words(words: list[str]) -> list[str]:
    """Refuse what no instance would take, naming the wrong word."""
    if not words:
        raise UsageError(f"a command is missing (one of: {' '.join(COMMANDS)})")
    command, *args = words
    if command not in COMMANDS:
        raise UsageError(f"unknown command '{command}' (one of: {' '.join(COMMANDS)})")
    if command == "create":
        for word in args[2:]:
            if not word.isascii() or not word.isprintable() or '"' in word:
                raise UsageError(f"create: '{word}' is not a word for a command line")
        args = args[:2]
    fitting = [form for form in COMMANDS[command] if len(form) == len(args)]
    if not fitting:
        longest = max(len(form) for form in COMMANDS[command])
        what = f"'{args[longest]}' is too much" if len(args) > longest else "a word is missing"
        raise UsageError(f"{command}: {what} (write: {forms(command)})")
    for kind, word in zip(fitting[0], args):
        if word == "auto" and kind.endswith("|auto"):
            continue
        if command == "pin" and kind == VALUE:
            if not re.fullmatch(PCPUS, word) or len(word) > 60:
                raise UsageError(f"pin: '{word}' is not a set of pCPUs (all, or as 0-3+5)")
            continue
        if kind in (NAME, KEY, VALUE):
            if not all(char.isascii() and (char.isalnum() or char in "-_.") for char in word) \
                    or not 0 < len(word) < 32:
                raise UsageError(f"{command}: '{word}' is not "
                                 + ("a guest's name" if kind == NAME else f"a {kind.lower()}"))
        else:
            low, high = (0, 1 << 24) if PAGES in kind else map(int, kind.split("-"))
            parse_int(word, command, low, high)
    return words


class ControlServer:
    """
    The instance's end. A client sends one line of words and gets one JSON line. Commands for the
    hypervisor go out as "ctl ID WORD..." and are answered by a `ctl` record with that id.

    Its sockets' data in the selector is the function that serves them; on_words(client, words)
    gets each client's command and sees to its answer.
    """

    def __init__(self, selector: selectors.BaseSelector,
                 on_words: Callable[[socket.socket, list[str]], None]) -> None:
        self._selector, self._on_words = selector, on_words
        self.path = socket_dir() / f"{os.getpid()}{_SUFFIX}"
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._clients: dict[socket.socket, bytes] = {}
        self._waiting: dict[int, socket.socket] = {}
        self._next = 1
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def __enter__(self) -> "ControlServer":
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._clients):
            self.answer(client, {"ok": False, "error": "the instance has ended"})
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _drop(self, client: socket.socket) -> None:
        if self._clients.pop(client, None) is not None:
            self._selector.unregister(client)
        self._waiting = {number: one for number, one in self._waiting.items() if one is not client}
        client.close()

    def answer(self, client: socket.socket, reply: dict[str, Any]) -> None:
        """Send the one answer of a client and hang up."""
        try:
            client.setblocking(True)
            client.settimeout(1)
            client.sendall(json.dumps(reply).encode() + b"\n")
        except OSError:
            pass  # it went away
        self._drop(client)

    def _accept(self, _: Any) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        self._clients[client] = b""
        self._selector.register(client, selectors.EVENT_READ, self._read)

    def _read(self, client: socket.socket) -> None:
        if client not in self._clients:
            return  # dropped since it was selected
        try:
            data = client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        self._clients[client] += data
        line, newline, _ = self._clients[client].partition(b"\n")
        if len(line) > MAX_LINE:
            self.answer(client, {"ok": False, "error": "the command is too long"})
        elif newline:
            self._on_words(client, line.decode(errors="replace").split())

    def forward(self, client: socket.socket, words: list[str]) -> bytes:
        """The line for the hypervisor; its answer will go to the client."""
        self._waiting[self._next] = client
        text = f"ctl {self._next} {' '.join(words)}\n"
        self._next += 1
        return text.encode()

    def take(self, record: dict[str, Any]) -> None:
        """A `ctl` record: pass it to who asked."""
        client = self._waiting.pop(record.get("id", 0), None)
        if client:
            self.answer(client, {key: value for key, value in record.items()
                                 if key not in ("ev", "id")})


def ask(pid: int, words: list[str], timeout: float) -> dict[str, Any]:
    """A client: send one command to an instance and wait for its answer."""
    path = socket_dir() / f"{pid}{_SUFFIX}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        data = b""
        try:
            sock.connect(str(path))
            sock.sendall(" ".join(words).encode() + b"\n")
            while not data.endswith(b"\n"):
                more = sock.recv(65536)
                if not more:
                    break
                data += more
        except TimeoutError:
            raise XylemError(f"instance {pid} does not answer") from None
        except OSError as error:
            raise XylemError(f"instance {pid}: {error.strerror}") from None
    try:
        reply = json.loads(data)
    except ValueError:
        raise XylemError(f"instance {pid} hung up") from None
    return reply if isinstance(reply, dict) else {}
