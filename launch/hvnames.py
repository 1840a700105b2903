# SPDX-License-Identifier: MIT
"""
What is behind an address of the hypervisor, by name: symbols and structure fields from its debug
information (read by gdb), and its own records in a copy of the machine's memory.
"""

import bisect
import json
import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.errors import XylemError
from launch.layout import DIRECTMAP, IMAGE_PHYS, IMAGE_VIRT, STACK_STRIDE, STACKS, STUBS

PAGE, LINE = 4096, 64
STRUCTS = ("pcpu", "domain", "vcpu", "page_info", "gfn_rec", "evtchn", "evtchn_dir", "rmap_node",
           "domain_slot")
PAGE_TYPES = ("free frame", "hypervisor page", "guest page", "hardware table", "metadata",
              "shared page")
NO_BASE = 0


@dataclass
class Place:
    """What a line is: text for people; forced: only the guest's own layout decides that it is one."""

    what: str
    forced: bool = False


class Types:
    """Layouts by gdb."""

    def __init__(self, elf: Path, variables: list[str]) -> None:
        script = Path(__file__).with_name("gdbtypes.py")
        env = {**os.environ, "XYLEM_STRUCTS": " ".join(STRUCTS),
               "XYLEM_VARIABLES": " ".join(variables)}
        try:
            out = subprocess.run(["gdb", "-nx", "-batch", "-ex", f"source {script}", str(elf)],
                                 env=env, capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            raise XylemError("no program 'gdb'") from None
        found = [line for line in out.splitlines() if line.startswith("XYLEM{")]
        if not found:
            raise XylemError(f"gdb tells nothing about {elf.name}")
        data = json.loads(found[0][5:])
        self._types: dict[str, dict[str, Any]] = data["types"]
        self.structs: dict[str, str] = data["structs"]
        self.variables: dict[str, str] = data["variables"]

    def size(self, name: str) -> int:
        """Bytes of a type."""
        return int(self._types[name]["size"])

    def offset(self, struct_name: str, path: str) -> int:
        """Of a field, given as a.b.c; unnamed members are looked through."""
        kind, at = self.structs[struct_name], 0
        for part in path.split("."):
            step = self._find(kind, part)
            if step is None:
                raise XylemError(f"struct {struct_name} has no field {path}")
            at, kind = at + step[0], step[1]
        return at

    def _find(self, kind: str, name: str) -> tuple[int, str] | None:
        for offset, field, inner in self._types[kind].get("fields", ()):
            if field == name:
                return int(offset), str(inner)
            if not field:
                deeper = self._find(inner, name)
                if deeper:
                    return int(offset) + deeper[0], deeper[1]
        return None

    def path(self, kind: str, offset: int) -> str:
        """The innermost field at an offset: '.a.b[3].c'."""
        known = self._types.get(kind, {})
        if "array" in known:
            count, element = known["array"]
            size = self.size(element)
            if not size or offset // size >= count:
                return ""
            return f"[{offset // size}]{self.path(element, offset % size)}"
        best = None
        for at, field, inner in known.get("fields", ()):
            if at <= offset < at + max(1, self.size(inner)):
                best = (at, field, inner)  # the last member of a union that fits
        if best is None:
            return ""
        at, field, inner = best
        return (f".{field}" if field else "") + self.path(inner, offset - at)


def mask_offsets(mask: int) -> list[int]:
    """Offsets in a line where accesses begin: bytes of a mask that follow one without, or a word."""
    return [i for i in range(LINE) if mask >> i & 1 and (i % 8 == 0 or not mask >> (i - 1) & 1)]


class Names:
    """Names of physical lines, while the machine's memory can be looked at."""

    def __init__(self, elf: Path, memory: Path) -> None:
        out = subprocess.run(["nm", "-n", "-S", str(elf)], check=True, capture_output=True,
                             text=True).stdout
        rows = [line.split() for line in out.splitlines()]
        found = sorted((int(row[0], 16), int(row[1], 16) if len(row) == 4 else 0, row[-1], row[-2])
                       for row in rows if len(row) in (3, 4))
        self._symbols = [(addr, size, name) for addr, size, name, _ in found]
        self._starts = [addr for addr, _, _ in self._symbols]
        self._where = {name: addr for addr, _, name in self._symbols}
        self._sizes = {(name, addr): size for addr, size, name in self._symbols}
        data = sorted({name for _, size, name, kind in found if size and kind in "dDbB"})
        self._types = Types(elf, data)
        self._memory = memory
        self._end = self._where["_end"]
        self._areas: list[tuple[int, int, str, str]] = []  # phys, size, struct, name

    # ---- memory ----

    def _read(self, phys: int, size: int) -> bytes:
        with open(self._memory, "rb") as file:
            file.seek(phys)
            return file.read(size)

    def _words(self, phys: int, count: int) -> list[int]:
        data = self._read(phys, 8 * count)
        return list(struct.unpack(f"<{len(data) // 8}Q", data[:len(data) // 8 * 8]))

    def _image(self, name: str) -> int:
        return self._where[name] - IMAGE_VIRT + IMAGE_PHYS

    def _domain_slots(self) -> int:
        """The table of domains: the variable 'slots' that is as long as a number of its records."""
        size = self._types.size(self._types.structs["domain_slot"])
        fits = [addr for (name, addr), length in self._sizes.items()
                if name == "slots" and length > size and length % size == 0]
        if len(fits) != 1:
            raise XylemError("which variable is the table of domains?")
        return fits[0] - IMAGE_VIRT + IMAGE_PHYS

    def look(self) -> None:
        """Read where the hypervisor's objects are now."""
        self._areas = []
        kind = self._types.structs
        for cpu, pointer in enumerate(self._words(self._image("pcpus"), 256)):
            if pointer >= DIRECTMAP:
                self._areas.append((pointer - DIRECTMAP, self._types.size(kind["pcpu"]), "pcpu",
                                    f"pcpu[{cpu}]"))
        slot, block = self._types.size(kind["domain_slot"]), self._types.offset("domain_slot",
                                                                                "block")
        vcpus, most = self._types.offset("domain", "vcpu"), self._types.offset("domain",
                                                                               "max_vcpus")
        table = self._domain_slots()
        for index in range(1, 64):
            pointer = self._words(table + index * slot + block, 1)[0]
            if pointer < DIRECTMAP:
                continue
            base = pointer - DIRECTMAP
            self._areas.append((base, self._types.size(kind["domain"]), "domain",
                                f"domain[{index}]"))
            count = self._words(base + most, 1)[0] & 0xffffffff
            for number, vcpu in enumerate(self._words(base + vcpus, min(count, 128))):
                if vcpu >= DIRECTMAP:
                    self._areas.append((vcpu - DIRECTMAP, self._types.size(kind["vcpu"]), "vcpu",
                                        f"domain[{index}].vcpu[{number}]"))
        self._areas.sort()

    # ---- names ----

    def code(self, address: int) -> str:
        """A function and the offset in it."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0:
            return f"{address:#x}"
        return f"{self._symbols[at][2]}+{address - self._symbols[at][0]:#x}"

    def _variables(self, address: int, mask: int) -> str:
        parts: list[str] = []
        for offset in mask_offsets(mask):
            at = bisect.bisect_right(self._starts, address + offset) - 1
            start, size, name = self._symbols[at]
            inside = address + offset - start
            if size and inside >= size:
                continue
            kind = self._types.variables.get(name)
            text = name + (self._types.path(kind, inside) if kind
                           else f"+{inside:#x}" if inside else "")
            if text not in parts:
                parts.append(text)
        return " ".join(parts) or self.code(address)

    def _fields(self, kind: str, offset: int, mask: int) -> str:
        parts: list[str] = []
        for at in mask_offsets(mask):
            path = self._types.path(self._types.structs[kind], offset + at)
            if path and path not in parts:
                parts.append(path)
        return " ".join(parts)

    def _page_type(self, record: bytes) -> int:
        return record[0] if record else -1

    def _owner(self, record: bytes) -> int:
        return int.from_bytes(record[1:3], "little")

    def _name_of(self, line: dict[str, Any], which: str, field: str) -> int | None:
        """The name (gfn) of the P2M record that a frame's record points to."""
        own = bytes.fromhex(line[which])
        offset = self._types.offset("page_info", field)
        leaf = line.get(f"{which}_to", {}).get(str(offset))
        if leaf is None:
            return None
        meta = bytes.fromhex(leaf)
        if PAGE_TYPES[self._page_type(meta)] != "metadata":
            return None
        base_at = self._types.offset("page_info", "meta.base")
        pointer = int.from_bytes(own[offset:offset + 8], "little")
        return int.from_bytes(meta[base_at:base_at + 8], "little") + pointer % PAGE // LINE

    def _frame(self, line: dict[str, Any], phys: int, mask: int) -> Place:
        """A line of a frame that the frame table knows."""
        record = bytes.fromhex(line["frame"])
        kind, owner = self._page_type(record), self._owner(record)
        text = PAGE_TYPES[kind] if 0 <= kind < len(PAGE_TYPES) else f"frame of type {kind}"
        who = f"domain[{owner}]" if 0 < owner < 0x7ff0 else ""
        if text == "guest page":
            name = self._name_of(line, "frame", "dom.rec")
            shown = f"page {name:#x}" if name is not None else "page"
            return Place(f"{who} guest {shown} +{phys % PAGE:#x}", True)
        if text == "metadata":
            base_at = self._types.offset("page_info", "meta.base")
            base = int.from_bytes(record[base_at:base_at + 8], "little")
            index = phys % PAGE // LINE
            if base != NO_BASE or index == 0:
                return Place(f"{who} gfn_rec[{base + index:#x}] "
                             f"{self._fields('gfn_rec', 0, mask)}")
            return Place(f"{who} metadata +{phys % PAGE:#x} "
                         f"(as rmap_node: {self._fields('rmap_node', phys % 128, mask)})")
        if text == "hardware table":
            level = record[self._types.offset("page_info", "hw.level")]
            name = self._name_of(line, "frame", "hw.rec")
            of = f" of guest table {name:#x}" if name is not None else ""
            first = phys % PAGE // 8
            return Place(f"{who} hardware L{level}{of} entries {first}-{first + 7}")
        return Place(f"{text} {phys // PAGE:#x} +{phys % PAGE:#x}")

    def line(self, line: dict[str, Any], mask: int) -> Place:
        """What a record of the profiler with "phys" and "virt" is about; mask: bytes of interest."""
        phys, virt = int(line["phys"], 16), int(line["virt"], 16) if "virt" in line else 0
        if IMAGE_PHYS <= phys < IMAGE_PHYS + self._end - IMAGE_VIRT:
            return Place(self._variables(phys - IMAGE_PHYS + IMAGE_VIRT, mask))
        at = bisect.bisect_right(self._areas, (phys, 1 << 62, "", "")) - 1
        if at >= 0:
            base, size, kind, name = self._areas[at]
            if phys < base + size:
                fields = self._fields(kind, phys - base, mask)
                return Place(" ".join(name + path for path in fields.split()) or name)
        if STACKS <= virt < STUBS:
            return Place(f"stack of pcpu[{(virt - STACKS) // STACK_STRIDE}]")
        table = self._words(self._image("frame_table"), 1)[0] - DIRECTMAP
        first = self._table_first(table)
        if first <= phys < first + self._table_size():
            frame = (phys - table) // LINE
            kind_of = bytes.fromhex(line["bytes"])[0] if "bytes" in line else -1
            text = PAGE_TYPES[kind_of] if 0 <= kind_of < len(PAGE_TYPES) else "?"
            return Place(f"page_info[{frame:#x}] ({text}) {self._fields('page_info', 0, mask)}")
        if "frame" in line:
            return self._frame(line, phys, mask)
        return Place(f"{virt:#x}")

    def _table_first(self, table: int) -> int:
        """Physical address of the first record of the frame table that there is."""
        return table + LINE  # frame 0 has none

    def _table_size(self) -> int:
        return self._words(self._image("max_mfn"), 1)[0] * LINE
