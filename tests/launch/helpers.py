# SPDX-License-Identifier: MIT
"""Files and commands for the launcher's tests."""

import contextlib
import io
import os
import struct
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

from launch import run
from launch.errors import UsageError


def elf(bits: int = 64, machine: int = 62, paddr: int = 0x100000, memsz: int = 0x2000,
        filesz: int = 0x1000, size: int = 0x2000) -> bytes:
    """A minimal ELF file with one loadable segment at file offset 0x1000."""
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, paddr, 64, 0, 0, 64, 56, 1,
                                 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, paddr, paddr, filesz, memsz, 0x1000)
    return (header + segment).ljust(size, b"\x90")


def bzimage(payload: bytes, setup_sects: int = 1, claim: int | None = None) -> bytes:
    """A minimal bzImage around a payload; 'claim' lies about the payload's length."""
    setup = bytearray((setup_sects + 1) * 512)
    setup[0x1F1] = setup_sects
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x20F)
    struct.pack_into("<II", setup, 0x248, 16, len(payload) if claim is None else claim)
    return bytes(setup) + bytes(16) + payload


class FileCase(unittest.TestCase):
    """A test with a scratch directory, which also is the launcher's cache."""

    def setUp(self) -> None:
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.dir = Path(temp.name)
        old = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(self.dir / "cache")
        self.addCleanup(self._restore, old)

    @staticmethod
    def _restore(old: str | None) -> None:
        if old is None:
            os.environ.pop("XDG_CACHE_HOME", None)
        else:
            os.environ["XDG_CACHE_HOME"] = old

    def write(self, name: str, data: bytes) -> Path:
        """A file in the scratch directory."""
        path = self.dir / name
        path.write_bytes(data)
        return path

    def refused(self, *words: str) -> str:
        """The one line with which ./xylem run refuses these options."""
        with self.assertRaises(UsageError) as caught, quiet():
            run.check_early(run.parser().parse_args(list(words)))
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        return text


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is printed out of the test's output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
