# SPDX-License-Identifier: MIT
"""The hypervisor's address layout, from the header that has it."""

import re

from launch.paths import ROOT

_NUMBERS = {name: int(value, 0) for name, value in re.findall(
    r"^#define (\w+) (0x[0-9a-f]+|\d+)(?:UL)?\b",
    (ROOT / "core" / "x86" / "include" / "arch" / "layout.h").read_text(), re.M)}

IMAGE_VIRT, IMAGE_PHYS = _NUMBERS["IMAGE_VIRT"], _NUMBERS["IMAGE_PHYS"]
DIRECTMAP = _NUMBERS["DIRECTMAP_VIRT"]
STACKS, STACK_STRIDE, STUBS = (_NUMBERS[name] for name in (
    "STACKS_VIRT", "STACK_STRIDE", "STUBS_VIRT"))
