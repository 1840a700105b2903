# SPDX-License-Identifier: MIT
"""The QEMU plugin that counts instructions and follows cache lines (stress/plugin/profile.h)."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launch.errors import XylemError
from launch.layout import IMAGE_PHYS, IMAGE_VIRT

TRAP_STUB = 16  # bytes of an entry point; those of vectors 32 and up are interrupts

# Where hypervisor work begins: the plugin's numbers of it, by symbol.
ENTRIES = {"x86_syscall": 1, "x86_guest_trap": 2, "scan_idle": 3, "do_mmu_update": 4,
           "do_update_va_mapping": 5, "do_mmuext_op": 6, "do_memory_op": 7, "do_sched_op": 8,
           "do_event_channel_op": 9, "do_vcpu_op": 10, "do_set_timer_op": 11, "do_multicall": 12,
           "do_stack_switch": 13, "do_iret": 14, "do_grant_table_op": 15, "do_xen_version": 16,
           "mm_fault": 17, "ptwrite_emulate": 18, "do_console_io": 19, "do_set_segment_base": 20,
           "do_fpu_taskswitch": 21, "do_update_descriptor": 22, "arch_deliver_events": 23}
ENTRY_NAMES = {number: name.removeprefix("do_").removeprefix("x86_").removeprefix("arch_")
               for name, number in ENTRIES.items()}


def symbols(elf: Path) -> dict[str, int]:
    """Addresses of an ELF file's symbols by name; of several with one name, the last one's."""
    out = subprocess.run(["nm", str(elf)], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


def plugin(where: Path, out: Path, lines: bool = False, entries: bool = False,
           memory: Path | None = None, top: int = 400) -> list[str]:
    """
    QEMU's options that load the plugin from a build directory. 'lines': follow cache lines;
    'entries': attribute work to ENTRIES; 'memory': the file that holds the machine's memory.
    """
    library = where / "libxylem_profile.so"
    if not library.exists():
        raise XylemError("the build made no libxylem_profile.so")
    where_is = symbols(where / "xylem64.elf")
    stubs = where_is["trap_stubs"]
    args = [f"out={out}", f"lines={'on' if lines else 'off'}", f"top={top}",
            f"irq={stubs + 32 * TRAP_STUB:x}:{stubs + 256 * TRAP_STUB:x}"]
    # The scanner always: what it does is not the interrupt's that ended the idle wait before.
    wanted = ENTRIES if entries else {"scan_idle": ENTRIES["scan_idle"]}
    missing = wanted.keys() - where_is.keys()
    if missing:
        raise XylemError(f"the hypervisor has no {', '.join(sorted(missing))} to profile")
    args += [f"entry={where_is[name]:x}:{number}" for name, number in wanted.items()]
    if memory:
        args += [f"memory={memory}",
                 f"frames={where_is['frame_table'] - IMAGE_VIRT + IMAGE_PHYS:x}"]
    return ["-plugin", ",".join([str(library), *args])]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a run's files, in memory if it can be: the machine's memory is among them."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="xylem-", dir=shm if shm.is_dir() else None) as name:
        yield Path(name)


def memory_file(file: Path, size: int) -> list[str]:
    """QEMU's options that keep the machine's memory (size bytes) in a file, which is made here."""
    with open(file, "wb") as made:
        made.truncate(size)  # the plugin, which opens it too, may be loaded first
    return ["-object", f"memory-backend-file,id=ram,size={size},mem-path={file},share=on",
            "-machine", "memory-backend=ram"]


def records(file: Path) -> Iterator[dict[str, Any]]:
    """The plugin's records in order."""
    try:
        with open(file, encoding="utf-8") as text:
            for line in text:
                yield json.loads(line)
    except OSError as error:
        raise XylemError(f"the profiler wrote nothing: {error.strerror}") from None
    except json.JSONDecodeError:
        raise XylemError("the profiler was stopped while it wrote") from None
