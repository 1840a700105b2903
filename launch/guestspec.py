# SPDX-License-Identifier: MIT
"""--guest KIND[:COUNT][,key=value...] into guests."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from launch.errors import UsageError
from launch.units import MIB, parse_cpus, parse_int, parse_size

MINI_ROLES = ("hello", "mem", "smp", "timer", "evtchn", "proc", "burn", "fuzz",
              "hog", "storm", "work", "wake", "evil", "idle",
              "pattern", "touch", "cache", "balloon", "bench", "commute", "scale",
              "scancost", "busy")
KINDS = ("linux", "mini", *(f"mini-{role}" for role in MINI_ROLES), "pv")
KEYS = ("vcpus", "mem", "weight", "warp", "pin", "kernel", "initrd", "cmdline", "name", "script",
        "min", "shares")
MAX_VCPUS = 128
MAX_GUESTS = 1024
MIN_MEM = {"linux": 96 * MIB, "mini": 4 * MIB, "pv": 4 * MIB}
DEFAULT_MEM = {"linux": 256 * MIB, "mini": 8 * MIB, "pv": 256 * MIB}


@dataclass
class Guest:
    """One guest as the hypervisor's configuration will describe it."""

    kind: str
    name: str = ""
    vcpus: int = 1
    mem: int = 0
    weight: int = 256
    warp: str = "off"
    pin: str = "all"
    kernel: Path | None = None
    initrd: Path | None = None
    script: Path | None = None
    cmdline: str = ""
    min: int | None = None  # bytes; None: the hypervisor's own default
    shares: int | None = None
    given: set[str] = field(default_factory=set)

    @property
    def family(self) -> str:
        """linux, mini or pv."""
        return self.kind.split("-")[0]

    @property
    def least_mem(self) -> int:
        """Bytes that the host promises it whatever happens."""
        return self.mem // 8 if self.min is None else self.min

    @property
    def role(self) -> str:
        """The role of a mini guest."""
        return self.kind.partition("-")[2] or "hello"


def split_words(text: str) -> list[str]:
    """Split at commas that are not inside double quotes; the quotes are dropped."""
    words, word, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            words.append(word)
            word = ""
        else:
            word += char
    if quoted:
        raise UsageError(f"--guest: a quote is not closed in '{text}'")
    return [*words, word]


def _existing(text: str, what: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"{what}: no file '{text}'")
    return path.resolve()


def parse_warp(text: str, what: str) -> str:
    """'off' or WARP:L:U in microseconds (U = 0: no limit on how soon again)."""
    if text == "off":
        return text
    parts = text.split(":")
    if len(parts) != 3:
        raise UsageError(f"{what}: '{text}' is not 'off' or WARP_US:L_US:U_US")
    for part in parts:
        parse_int(part, what, 0, 10**9)
    return text


def parse_guest(text: str, pcpus: int) -> tuple[Guest, int]:
    """One --guest value: the guest (without a name unless given) and its count."""
    head, *options = split_words(text)
    kind, colon, count_text = head.partition(":")
    if kind not in KINDS:
        raise UsageError(f"--guest: unknown kind '{kind}' (one of: {' '.join(KINDS)})")
    count = parse_int(count_text, f"--guest {kind}: count", 1, MAX_GUESTS) if colon else 1
    guest = Guest(kind=kind)
    for option in options:
        key, equals, value = option.partition("=")
        what = f"--guest {kind}: {key}"
        if key not in KEYS:
            raise UsageError(f"--guest {kind}: unknown word '{option}' "
                             f"(one of: {' '.join(f'{known}=' for known in KEYS)})")
        if not equals or not value:
            raise UsageError(f"{what}: a value is missing")
        if key in guest.given:
            raise UsageError(f"{what}: given twice")
        guest.given.add(key)
        if key == "vcpus":
            guest.vcpus = parse_int(value, what, 1, MAX_VCPUS)
        elif key == "mem":
            guest.mem = parse_size(value, what)
        elif key == "weight":
            guest.weight = parse_int(value, what, 1, 65535)
        elif key == "min":
            guest.min = parse_size(value, what)
        elif key == "shares":
            guest.shares = parse_int(value, what, 1, 1000000)
        elif key == "warp":
            guest.warp = parse_warp(value, what)
        elif key == "pin":
            guest.pin = parse_cpus(value, what, pcpus)
        elif key in ("kernel", "initrd", "script"):
            setattr(guest, key, _existing(value, what))
        elif key == "cmdline":
            if len(value) > 900 or not value.isprintable():
                raise UsageError(f"{what}: must be printable and at most 900 characters")
            guest.cmdline = value
        elif key == "name":
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", value):
                raise UsageError(f"{what}: '{value}' is not a name "
                                 "(letters, digits, '_', '.', '-', at most 31)")
            guest.name = value
    _check(guest, options)
    return guest, count


def _check(guest: Guest, options: list[str]) -> None:
    """What only makes sense together."""
    family, what = guest.family, f"--guest {guest.kind}"
    if family == "pv" and guest.kernel is None:
        raise UsageError(f"{what}: needs kernel=FILE")
    if family == "mini" and (guest.kernel or guest.initrd):
        raise UsageError(f"{what}: kernel= and initrd= are for kinds linux and pv")
    if guest.script and (family != "linux" or guest.initrd):
        raise UsageError(f"{what}: script= is for kind linux without initrd=")
    if not guest.mem:
        guest.mem = DEFAULT_MEM[family]
    if guest.mem < MIN_MEM[family]:
        text = next((o for o in options if o.startswith("mem=")), "mem")
        raise UsageError(f"{what}: '{text}' is too little: at least {MIN_MEM[family] // MIB}M")
    if guest.mem % 4096:
        raise UsageError(f"{what}: mem is not a multiple of 4K")
    if guest.mem > 1 << 40:
        raise UsageError(f"{what}: mem is more than 1T")
    if guest.min is not None and guest.min % 4096:
        raise UsageError(f"{what}: min is not a multiple of 4K")
    if guest.min is not None and guest.min > guest.mem:
        raise UsageError(f"{what}: min is more than mem")


def expand(specs: list[str], pcpus: int) -> list[Guest]:
    """All guests of all --guest options, each with its unique name."""
    guests: list[Guest] = []
    numbers: dict[str, int] = {}
    for spec in specs:
        guest, count = parse_guest(spec, pcpus)
        for index in range(count):
            if guest.name:
                name = guest.name if count == 1 else f"{guest.name}{index + 1}"
            else:
                numbers[guest.kind] = numbers.get(guest.kind, 0) + 1
                name = f"{guest.kind}{numbers[guest.kind]}"
            if any(other.name == name for other in guests):
                raise UsageError(f"--guest: two guests are called '{name}'")
            guests.append(replace(guest, name=name))
    if len(guests) > MAX_GUESTS:
        raise UsageError(f"--guest: {len(guests)} guests are more than {MAX_GUESTS}")
    return guests
