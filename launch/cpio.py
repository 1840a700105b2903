# SPDX-License-Identifier: MIT
"""Write a newc cpio archive (an initramfs) without being root."""

import stat


class Archive:
    """Entries are added in order; parents of files are made as needed."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._ino = 0
        self._dirs: set[str] = set()

    def _entry(self, name: str, mode: int, data: bytes = b"", rdev: tuple[int, int] = (0, 0),
               nlink: int = 1) -> None:
        self._ino += 1
        raw = name.encode() + b"\0"
        fields = (self._ino, mode, 0, 0, nlink, 0, len(data), 0, 0, rdev[0], rdev[1],
                  len(raw), 0)
        self._out += b"070701" + b"".join(b"%08X" % value for value in fields) + raw
        self._pad()
        self._out += data
        self._pad()

    def _pad(self) -> None:
        self._out += b"\0" * (-len(self._out) % 4)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """A directory, and those above it."""
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            if name not in self._dirs:
                self._dirs.add(name)
                self._entry(name, stat.S_IFDIR | (mode if depth == len(parts) else 0o755),
                            nlink=2)

    def _parent(self, path: str) -> str:
        name = path.strip("/")
        if "/" in name:
            self.directory(name.rpartition("/")[0])
        return name

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._entry(self._parent(path), stat.S_IFREG | mode, data)

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._entry(self._parent(path), stat.S_IFLNK | 0o777, target.encode())

    def chardev(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device node."""
        self._entry(self._parent(path), stat.S_IFCHR | mode, rdev=(major, minor))

    def finish(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0)
        self._out += b"\0" * (-len(self._out) % 512)
        return bytes(self._out)
