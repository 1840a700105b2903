# SPDX-License-Identifier: MIT
"""The initramfs of Linux guests: static busybox, launch/guestinit.sh, workloads."""

import hashlib
import re
import subprocess
from pathlib import Path

from launch import debian, ui
from launch.cpio import Archive
from launch.errors import UsageError, XylemError
from launch.paths import ROOT, cache_dir

BUSYBOX = Path("/bin/busybox")
TASKS = ("none", "shell", "idle", "answer", "stress", "memstress", "script")
STRESS = ("stress", "memstress")


def task_of(cmdline: str) -> str:
    """The workload that a kernel command line asks for: 'none', 'stress=10', ..."""
    found = [word[len("xylem.task="):] for word in cmdline.split()
             if word.startswith("xylem.task=")]
    task = found[-1] if found else "none"
    name, equals, value = task.partition("=")
    timed = name in ("idle", *STRESS)
    if name not in TASKS or bool(equals) != timed or (timed and not re.fullmatch("[0-9]+", value)):
        raise UsageError(f"xylem.task={task}: not one of none, shell, idle=SECONDS, answer, "
                         "stress=SECONDS, memstress=SECONDS, script")
    return task


def _needed(path: Path) -> list[str]:
    """Shared libraries and interpreter that an ELF file names."""
    done = subprocess.run(["readelf", "-dlW", str(path)], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise XylemError(f"readelf {path}: {done.stderr.strip()}")
    names = re.findall(r"\(NEEDED\).*\[(.+)\]", done.stdout)
    interp = re.search(r"program interpreter: (\S+)\]", done.stdout)
    return names + ([Path(interp[1]).name] if interp else [])


class _Libraries:
    """Finds sonames in packages, unpacking a package's dependencies as needed."""

    def __init__(self) -> None:
        self._where: dict[str, tuple[Path, Path, str]] = {}
        self._open: list[str] = []
        self._seen: set[str] = set()

    def add(self, package: str) -> Path:
        """Unpack a package and index its libraries; its dependencies wait."""
        self._seen.add(package)
        root = debian.unpacked(package)
        for path in root.rglob("*.so*"):
            if path.parent.name in ("x86_64-linux-gnu", "lib", "lib64", "libjudy"):
                self._where.setdefault(path.name, (root, path, package))
        self._open += [name for name in debian.depends(package)
                       if name not in self._seen and name not in self._open]
        return root

    def find(self, soname: str) -> tuple[Path, Path, str]:
        """(package root, file, package) of a soname."""
        while soname not in self._where:
            # Small library packages first: the large ones are rarely the answer.
            stem = re.sub(r"[^a-z]", "", soname.partition(".so")[0].lower())[3:7]
            self._open.sort(key=lambda name: (stem not in name.replace("-", ""),
                                              not name.startswith("lib"), len(name)))
            if not self._open:
                raise XylemError(f"no package among the dependencies holds {soname}")
            self.add(self._open.pop(0))
        return self._where[soname]


def program_files(package: str, path: str) -> dict[str, bytes]:
    """A package's program with the libraries it needs, by path in the initramfs."""
    libraries = _Libraries()
    program = libraries.add(package) / path
    files = {path: program.read_bytes()}
    todo, done = _needed(program), set()
    while todo:
        soname = todo.pop()
        if soname in done:
            continue
        done.add(soname)
        _, library, _ = libraries.find(soname)
        target = library.resolve()
        folder = "lib64" if soname.startswith("ld-linux") else "lib/x86_64-linux-gnu"
        files[f"{folder}/{soname}"] = target.read_bytes()
        todo += _needed(target)
    return files


def _archive(stress: bool, script: bytes | None) -> bytes:
    if not BUSYBOX.exists():
        raise XylemError("no /bin/busybox: install busybox-static")
    applets = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True,
                             check=True).stdout.split()
    archive = Archive()
    for name in ("dev", "proc", "sys", "tmp", "run", "root", "sbin", "usr/bin", "usr/sbin", "etc"):
        archive.directory(name)
    archive.chardev("dev/console", 5, 1)
    archive.chardev("dev/null", 1, 3, 0o666)
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"
                               b"nobody:x:65534:65534:nobody:/:/bin/false\n")
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    for applet in applets:
        if applet != "busybox":
            archive.symlink(f"bin/{applet}", "busybox")
    archive.file("init", (ROOT / "launch" / "guestinit.sh").read_bytes(), 0o755)
    if script is not None:
        archive.file("xylem-task", script, 0o755)
    if stress:
        for name, data in program_files("stress-ng", "usr/bin/stress-ng").items():
            archive.file(name, data, 0o755)
    return archive.finish()


def build(stress: bool = False, script: Path | None = None) -> Path:
    """The initramfs file for a kind of workload, made once and kept in the cache."""
    text = script.read_bytes() if script else None
    key = hashlib.sha256((ROOT / "launch" / "guestinit.sh").read_bytes())
    for source in (Path(__file__), Path(__file__).with_name("cpio.py"), BUSYBOX):
        key.update(source.read_bytes() if source.exists() else b"")
    key.update(b"stress" + debian.candidate("stress-ng").encode() if stress else b"plain")
    key.update(text or b"")
    path = cache_dir() / f"initrd-{key.hexdigest()[:16]}.cpio"
    if not path.exists():
        ui.say("making the guests' initramfs" + (" with stress-ng" if stress else ""))
        part = path.with_suffix(f".{id(key)}.part")
        part.write_bytes(_archive(stress, text))
        part.replace(path)
    return path
