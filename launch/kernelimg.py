# SPDX-License-Identifier: MIT
"""Kernel files: check them, and unpack a bzImage to the ELF kernel inside it."""

import bz2
import hashlib
import lzma
import struct
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

from launch.errors import UsageError, XylemError
from launch.paths import cache_dir

ELF_MAGIC = b"\x7fELF"
PT_LOAD = 1
EM_X86_64 = 62


@dataclass
class Kernel:
    """A kernel that the hypervisor can load."""

    source: Path
    elf: Path
    sha256: str
    top: int  # end of the highest segment, in bytes of guest memory
    note: str


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def _filter(program: list[str], data: bytes) -> bytes:
    """What a decompressor makes of data; trailing bytes are no error."""
    try:
        done = subprocess.run(program, input=data, capture_output=True, check=False)
    except FileNotFoundError:
        raise XylemError(f"no program '{program[0]}' to unpack the kernel with") from None
    return done.stdout


def _lzma(data: bytes, kind: int) -> bytes:
    return lzma.LZMADecompressor(kind).decompress(data)


def _gzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


UNPACKERS = (
    (b"\xfd7zXZ\x00", lambda data: _lzma(data, lzma.FORMAT_XZ)),
    (b"\x1f\x8b", _gzip),
    (b"\x28\xb5\x2f\xfd", lambda data: _filter(["zstd", "-dcq"], data)),
    (b"\x02\x21\x4c\x18", lambda data: _filter(["lz4", "-dc"], data)),
    (b"\x5d\x00\x00", lambda data: _lzma(data, lzma.FORMAT_ALONE)),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
)


def is_bzimage(data: bytes) -> bool:
    """The boot protocol's header magic at its place."""
    return len(data) > 0x260 and data[0x202:0x206] == b"HdrS"


def unpack_bzimage(data: bytes, what: str) -> bytes:
    """The ELF kernel in a bzImage (setup header fields payload_offset, payload_length)."""
    if struct.unpack_from("<H", data, 0x206)[0] < 0x208:
        raise UsageError(f"{what}: this bzImage's boot protocol is older than 2.08")
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    if not length or start + length > len(data):
        raise UsageError(f"{what}: the bzImage is truncated: its payload needs "
                         f"{start + length} bytes, the file has {len(data)}")
    payload = data[start:start + length]
    if payload.startswith(ELF_MAGIC):
        return payload
    for magic, unpack in UNPACKERS:
        if payload.startswith(magic):
            try:
                return unpack(payload)
            except (lzma.LZMAError, OSError, ValueError, EOFError, zlib.error) as error:
                raise UsageError(f"{what}: the bzImage's payload is damaged: {error}") from None
    raise UsageError(f"{what}: unknown compression of the bzImage's payload "
                     f"({payload[:6].hex()})")


def check_elf(data: bytes, what: str) -> int:
    """Check an ELF kernel as far as loading needs it; returns its top in guest memory."""
    if not data.startswith(ELF_MAGIC):
        raise UsageError(f"{what}: neither an ELF file nor a bzImage")
    if len(data) < 64:
        raise UsageError(f"{what}: truncated: {len(data)} bytes hold no ELF header")
    if data[4] != 2:
        raise UsageError(f"{what}: a 32-bit ELF file; only 64-bit kernels can run")
    machine, = struct.unpack_from("<H", data, 18)
    if data[5] != 1 or machine != EM_X86_64:
        raise UsageError(f"{what}: not for x86-64 (ELF machine {machine})")
    phoff, = struct.unpack_from("<Q", data, 32)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    if phentsize < 56 or not 0 < phnum < 128 or phoff + phentsize * phnum > len(data):
        raise UsageError(f"{what}: truncated: the program headers lie outside the file")
    top = 0
    for index in range(phnum):
        kind, _, offset, vaddr, paddr, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", data, phoff + index * phentsize)
        if kind != PT_LOAD:
            continue
        if offset + filesz > len(data):
            raise UsageError(f"{what}: truncated: a segment ends at byte {offset + filesz}, "
                             f"the file has {len(data)}")
        if filesz > memsz:
            raise UsageError(f"{what}: a segment is larger in the file than in memory")
        base = paddr if paddr < 1 << 46 else vaddr & 0x7FFFFFFF
        top = max(top, base + memsz)
    if not top:
        raise UsageError(f"{what}: no loadable segment")
    return top


def load(path: Path, what: str) -> Kernel:
    """Check a kernel file and unpack it if it is a bzImage (kept in the cache)."""
    data = path.read_bytes()
    digest = sha256(data)
    if data.startswith(ELF_MAGIC):
        return Kernel(path, path, digest, check_elf(data, what), "ELF")
    if not is_bzimage(data):
        raise UsageError(f"{what}: '{path.name}' is neither an ELF file nor a bzImage")
    unpacked = cache_dir() / f"vmlinux-{digest[:16]}"
    if unpacked.exists():
        elf = unpacked.read_bytes()
    else:
        elf = unpack_bzimage(data, what)
        check_elf(elf, f"{what}: the kernel in the bzImage")
        part = unpacked.with_suffix(".part")
        part.write_bytes(elf)
        part.replace(unpacked)
    return Kernel(path, unpacked, digest, check_elf(elf, what), "bzImage")
