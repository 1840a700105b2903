# SPDX-License-Identifier: MIT
"""Embed a symbol table in the hypervisor, and describe its image to boot32.

empty OUT.S         an assembly file with an empty table (pass 1)
table ELF OUT.S     the table of ELF's functions (pass 2)
check ELF1 ELF2     fail when a function moved between the two passes
image ELF OUT.h     XYLEM_BIN, XYLEM_LINK_BASE, XYLEM_IMAGE_SIZE, XYLEM_ENTRY
"""

import argparse
import subprocess
import sys
from pathlib import Path


def symbols(nm: str, elf: str) -> list[tuple[int, str, str]]:
    """(address, type, name) of every symbol of an ELF file, by address."""
    out = subprocess.run([nm, "-n", elf], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return [(int(row[0], 16), row[1], row[2]) for row in rows if len(row) == 3]


def functions(nm: str, elf: str) -> list[tuple[int, str]]:
    """(address, name) of the text symbols, one name per address."""
    found: dict[int, str] = {}
    for addr, kind, name in symbols(nm, elf):
        if kind in "tTwW" and not name.startswith(".L"):
            found.setdefault(addr, name)
    return sorted(found.items())


def assembly(rows: list[tuple[int, str]], base: int) -> str:
    """The .ksyms section for these functions."""
    out = ["/* SPDX-License-Identifier: MIT */",
           "/* Generated from the first link of the image. */",
           '\t.section .note.GNU-stack,"",@progbits',
           '\t.section .ksyms,"a",@progbits']

    def label(name: str) -> None:
        out.append(f"\t.balign 4\n\t.globl {name}\n\t.hidden {name}\n{name}:")

    label("xylem_ksyms_count")
    out.append(f"\t.long {len(rows)}")
    label("xylem_ksyms_addrs")
    out += [f"\t.long {addr - base:#x}" for addr, _ in rows]
    label("xylem_ksyms_names_off")
    offset = 0
    for _, name in rows:
        out.append(f"\t.long {offset}")
        offset += len(name) + 1
    label("xylem_ksyms_names")
    out += [f'\t.asciz "{name}"' for _, name in rows]
    out.append("\t.byte 0")
    return "\n".join(out) + "\n"


def image_header(args: argparse.Namespace) -> str:
    """C macros that tell the 32-bit loader what it carries."""
    where = {name: addr for addr, _, name in symbols(args.nm, args.elf)}
    if "_end" not in where:
        raise SystemExit(f"{args.elf}: the linker script defines no _end")
    entry = int.from_bytes(Path(args.elf).read_bytes()[24:32], "little")
    size = where["_end"] - args.base
    loaded = Path(args.bin).stat().st_size
    if not 0 < loaded <= size:
        raise SystemExit(f"{args.elf}: flat image is {loaded} bytes, _end says {size}")
    return (f"/* SPDX-License-Identifier: MIT */\n"
            f'#define XYLEM_BIN "{args.bin}"\n'
            f"#define XYLEM_BIN_SIZE {loaded:#x}\n"
            f"#define XYLEM_LINK_BASE {args.base:#x}\n"
            f"#define XYLEM_IMAGE_SIZE {size:#x}\n"
            f"#define XYLEM_ENTRY {entry:#x}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sub = parser.add_subparsers(dest="what", required=True)
    sub.add_parser("empty").add_argument("out")
    table = sub.add_parser("table")
    check = sub.add_parser("check")
    image = sub.add_parser("image")
    for part in (table, check, image):
        part.add_argument("--nm", default="nm")
    for part in (table, image):
        part.add_argument("--base", type=lambda text: int(text, 0), required=True)
        part.add_argument("elf")
        part.add_argument("out")
    image.add_argument("--bin", required=True)
    check.add_argument("first")
    check.add_argument("second")
    args = parser.parse_args()

    if args.what == "empty":
        Path(args.out).write_text(assembly([], 0))
    elif args.what == "table":
        Path(args.out).write_text(assembly(functions(args.nm, args.elf), args.base))
    elif args.what == "image":
        Path(args.out).write_text(image_header(args))
    elif functions(args.nm, args.first) != functions(args.nm, args.second):
        sys.exit("ksyms: functions moved between the two links: .ksyms must follow all code")


if __name__ == "__main__":
    main()
