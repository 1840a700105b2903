# SPDX-License-Identifier: MIT
"""Numbers, sizes and CPU sets as users write them."""

import re

from launch.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SCALE = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}


def parse_int(text: str, what: str, low: int, high: int) -> int:
    """A decimal integer within [low, high]."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise UsageError(f"{what}: '{text}' is not a number")
    value = int(text)
    if not low <= value <= high:
        raise UsageError(f"{what}: '{text}' is not within {low} to {high}")
    return value


def parse_seconds(text: str, what: str) -> float:
    """A positive number of seconds."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text) or float(text) <= 0:
        raise UsageError(f"{what}: '{text}' is not a positive number of seconds")
    return float(text)


def parse_size(text: str, what: str) -> int:
    """Bytes, from a number with K, M, G or T (powers of 1024); plain numbers are bytes."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{what}: '{text}' is not a size (such as 256M or 2G)")
    return int(match[1]) * _SCALE[match[2].upper()]


def parse_cpus(text: str, what: str, pcpus: int) -> str:
    """'all' or a set such as 0-3+5; every CPU must be below pcpus. Returns it normalised."""
    if text == "all":
        return text
    cpus: set[int] = set()
    for part in text.split("+"):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if not match:
            raise UsageError(f"{what}: '{text}' is not 'all' or a CPU set such as 0-3+5")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"{what}: '{part}' runs backwards")
        if last >= pcpus:
            raise UsageError(f"{what}: CPU {last} of '{text}' does not exist (--pcpus {pcpus})")
        cpus.update(range(first, last + 1))
    return format_cpus(cpus)


def format_cpus(cpus: set[int]) -> str:
    """A CPU set in the form 0-3+5."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return "+".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def format_size(size: int) -> str:
    """A size with the largest unit that divides it."""
    for unit in ("G", "M", "K"):
        if size and size % _SCALE[unit] == 0:
            return f"{size // _SCALE[unit]}{unit}"
    return str(size)
