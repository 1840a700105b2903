# SPDX-License-Identifier: MIT
"""Debian packages as plain files: downloaded and unpacked, never installed."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from launch import ui
from launch.errors import XylemError
from launch.paths import cache_dir


def _apt(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C"})
    return done.stdout if done.returncode == 0 else ""


def _refresh() -> bool:
    """Fetch the package lists, if we may."""
    if os.geteuid() != 0:
        return False
    ui.step("fetching the package lists", ["apt-get", "update", "-q"])
    candidate.cache_clear()
    depends.cache_clear()
    return True


@lru_cache(None)
def depends(package: str) -> list[str]:
    """A package's direct dependencies."""
    out = _apt(["apt-cache", "depends", "--no-recommends", "--no-suggests", "--no-conflicts",
                "--no-breaks", "--no-replaces", "--no-enhances", package])
    return re.findall(r"^ *\|?(?:Pre)?Depends: ([^<\s]+)$", out, re.MULTILINE)


@lru_cache(None)
def candidate(package: str) -> str:
    """The version apt would install, '' if it knows none."""
    match = re.search(r"^  Candidate: (\S+)$", _apt(["apt-cache", "policy", package]),
                      re.MULTILINE)
    return match[1] if match and match[1] != "(none)" else ""


def _cached(package: str) -> Path | None:
    """The newest unpacked copy in the cache."""
    found = sorted((cache_dir() / "deb").glob(f"{package}_*"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def unpacked(package: str, only: str = "") -> Path:
    """
    Directory with the package's current version unpacked ('only': just this
    folder of it). Nothing is installed and no maintainer script runs.
    """
    version = candidate(package)
    if not version and _refresh():
        version = candidate(package)
    if not version:
        old = _cached(package)
        if old:
            ui.say(f"apt knows no '{package}' now: using {old.name} from the cache")
            return old
        raise XylemError(f"apt knows no package '{package}': run apt-get update")
    where = cache_dir() / "deb" / f"{package}_{version.replace(':', '%3a')}"
    if where.is_dir():
        return where
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.parent, prefix="tmp-") as temp:
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root",
                   f"{package}={version}"]
        ui.step(f"downloading Debian's {package} {version}", command, cwd=Path(temp))
        debs = list(Path(temp).glob("*.deb"))
        if len(debs) != 1:
            raise XylemError(f"apt-get download {package} left {len(debs)} files")
        out = Path(temp) / "out"
        out.mkdir()
        if only:
            tar = Path(temp) / "data.tar"
            with open(tar, "wb") as sink:
                subprocess.run(["dpkg-deb", "--fsys-tarfile", str(debs[0])], stdout=sink,
                               check=True)
            ui.step(f"unpacking {package}",
                    ["tar", "-xf", str(tar), "-C", str(out), f"./{only}"])
        else:
            ui.step(f"unpacking {package}", ["dpkg-deb", "-x", str(debs[0]), str(out)])
        # md5sums, to check the files against; scripts are only looked at, never run.
        subprocess.run(["dpkg-deb", "-e", str(debs[0]), str(out / "DEBIAN")], check=True)
        try:
            out.rename(where)
        except OSError:
            if not where.is_dir():  # another launcher was not faster: a real error
                raise
            shutil.rmtree(out)
    return where


def linux_image() -> tuple[str, Path]:
    """(package, vmlinuz) of Debian's current amd64 kernel, byte for byte as packaged."""
    packages = [name for name in depends("linux-image-amd64")
                if re.fullmatch(r"linux-image-[0-9].*-amd64", name)]
    if not packages and _refresh():
        packages = [name for name in depends("linux-image-amd64")
                    if re.fullmatch(r"linux-image-[0-9].*-amd64", name)]
    if packages:
        package = packages[0]
    else:
        old = sorted((cache_dir() / "deb").glob("linux-image-[0-9]*-amd64_*"))
        if not old:
            raise XylemError("apt knows no linux-image-amd64: run apt-get update")
        package = old[-1].name.partition("_")[0]
    root = unpacked(package, "boot")
    kernels = list((root / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise XylemError(f"{package} holds {len(kernels)} kernels")
    digest = hashlib.md5(kernels[0].read_bytes(), usedforsecurity=False).hexdigest()
    if f"{digest}  boot/{kernels[0].name}" not in (root / "DEBIAN" / "md5sums").read_text():
        raise XylemError(f"{kernels[0]} is not as packaged: delete {root}")
    return package, kernels[0]
