# SPDX-License-Identifier: MIT
"""Kernels and initramfs archives."""

import bz2
import gzip
import lzma
import subprocess
import unittest

from launch import initramfs, kernelimg
from launch.cpio import Archive
from launch.errors import UsageError

from tests.launch.helpers import FileCase, bzimage, elf


def _tool(*command: str) -> "type[str] | object":
    return lambda data: subprocess.run(command, input=data, capture_output=True,
                                       check=True).stdout


class BzImages(FileCase):
    def test_every_compression(self) -> None:
        kernel = elf(size=70000)
        packers = {
            "none": lambda data: data,
            "gzip": gzip.compress,
            "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
            "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
            "bzip2": bz2.compress,
            "zstd": _tool("zstd", "-cq"),
            "lz4": _tool("lz4", "-lc"),
        }
        for name, pack in packers.items():
            with self.subTest(name=name):
                # As in a real kernel, the payload ends with its unpacked size.
                data = bzimage(pack(kernel) + len(kernel).to_bytes(4, "little"))
                path = self.write(f"bz-{name}", data)
                loaded = kernelimg.load(path, "kernel")
                unpacked = loaded.elf.read_bytes()
                self.assertEqual(unpacked[:len(kernel)], kernel)
                self.assertEqual(loaded.sha256, kernelimg.sha256(data))
                self.assertEqual(path.read_bytes(), data)

    def refused(self, data: bytes) -> str:  # type: ignore[override]
        with self.assertRaises(UsageError) as caught:
            kernelimg.load(self.write("bad", data), "kernel")
        return str(caught.exception)

    def test_truncated(self) -> None:
        whole = bzimage(gzip.compress(elf()))
        self.assertIn("truncated", self.refused(whole[:-1]))
        self.assertIn("truncated", self.refused(bzimage(b"", claim=0)))

    def test_damaged(self) -> None:
        packed = bytearray(lzma.compress(elf()))
        packed[len(packed) // 2] ^= 0xFF
        self.assertIn("damaged", self.refused(bzimage(bytes(packed))))

    def test_unknown_payload(self) -> None:
        self.assertIn("unknown compression", self.refused(bzimage(b"garbage" * 10)))

    def test_inner_kernel_is_checked(self) -> None:
        self.assertIn("32-bit", self.refused(bzimage(gzip.compress(elf(bits=32)))))


class Cpio(unittest.TestCase):
    def test_read_back_by_cpio(self) -> None:
        archive = Archive()
        archive.file("a/b/c", b"hello", 0o755)
        archive.symlink("a/link", "b/c")
        archive.chardev("dev/console", 5, 1)
        data = archive.finish()
        listing = subprocess.run(["busybox", "cpio", "-tv"], input=data, capture_output=True,
                                 check=True).stdout.decode()
        for part in ("drwxr-xr-x", "a/b/c", "a/link -> b/c", "dev/console"):
            self.assertIn(part, listing)
        content = subprocess.run(["busybox", "cpio", "-i", "--to-stdout", "a/b/c"], input=data,
                                 capture_output=True, check=True).stdout
        self.assertEqual(content, b"hello")


class Tasks(unittest.TestCase):
    def test_known(self) -> None:
        for text, task in (("", "none"), ("a xylem.task=shell b", "shell"),
                           ("xylem.task=stress=120", "stress=120"),
                           ("xylem.task=memstress=9", "memstress=9"),
                           ("xylem.task=none xylem.task=idle=3", "idle=3")):
            self.assertEqual(initramfs.task_of(text), task)

    def test_unknown(self) -> None:
        for text in ("dance", "stress", "stress=", "stress=soon", "memstress", "shell=1"):
            with self.subTest(text=text), self.assertRaises(UsageError):
                initramfs.task_of(f"xylem.task={text}")


if __name__ == "__main__":
    unittest.main()
