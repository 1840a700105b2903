# SPDX-License-Identifier: MIT
"""From guests to boot modules: prepare kernels and initrds, write xylem.conf."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from launch import debian, initramfs, ui
from launch.errors import UsageError
from launch.guestspec import Guest
from launch.kernelimg import Kernel, load
from launch.units import GIB, MIB, format_size

CONFIG_ID = "xylem.conf"


@dataclass
class Plan:
    """Everything that a boot needs besides the hypervisor."""

    guests: list[Guest]
    files: dict[str, Path] = field(default_factory=dict)  # module id -> file
    config: str = ""
    kernels: dict[str, dict[str, str]] = field(default_factory=dict)  # file -> its facts
    module_bytes: int = 0

    def stage(self, where: Path) -> list[tuple[Path, str]]:
        """(path, id) of each module, the configuration first; paths without spaces."""
        config = where / CONFIG_ID
        config.write_text(self.config)
        modules = [(config, CONFIG_ID)]
        for ident, path in self.files.items():
            link = where / ident
            if link.is_symlink():
                link.unlink()
            os.symlink(path, link)
            modules.append((link, ident))
        return modules


def cmdline_of(guest: Guest) -> str:
    """The guest's whole command line."""
    if guest.family == "mini":
        words = [f"role={guest.role}"]
    elif guest.family == "linux" and "console=" not in guest.cmdline:
        words = ["console=hvc0"]
    else:
        words = []
    return " ".join([*words, guest.cmdline]).strip()


def quoted(text: str) -> str:
    """The inside of a quoted value of the configuration."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Modules:
    """Gives each distinct file one id."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ids: dict[Path, str] = {}

    def ident(self, path: Path, letter: str) -> str:
        if path not in self._ids:
            count = sum(1 for known in self._ids.values() if known.startswith(letter))
            self._ids[path] = f"{letter}{count}"
            self._plan.files[self._ids[path]] = path
            self._plan.module_bytes += path.stat().st_size
        return self._ids[path]


def make_plan(guests: list[Guest], mini_kernel: Path | None, settings: dict[str, str]) -> Plan:
    """Check and prepare every guest's files (downloading Debian's kernel if one needs it)."""
    plan = Plan(guests)
    modules = _Modules(plan)
    loaded: dict[Path, Kernel] = {}
    lines = [f"set {key} {value}" for key, value in settings.items()]
    for guest in guests:
        what = f"--guest {guest.kind}"
        path, initrd = guest.kernel, guest.initrd
        if guest.family == "mini":
            if mini_kernel is None:
                raise UsageError(f"{what}: this build has no mini guests")
            path = mini_kernel
        elif guest.family == "linux":
            task = initramfs.task_of(guest.cmdline)
            if task == "script" and not guest.script and not initrd:
                raise UsageError(f"{what}: xylem.task=script needs script=FILE")
            if initrd is None:
                initrd = initramfs.build(task.partition("=")[0] in initramfs.STRESS, guest.script)
            if path is None:
                path = _debian_kernel(plan)
        assert path is not None
        if path not in loaded:
            loaded[path] = load(path, f"{what}: kernel")
            if guest.family != "mini":
                plan.kernels.setdefault(str(path), {"file": path.name})
                plan.kernels[str(path)]["sha256"] = loaded[path].sha256
        kernel = loaded[path]
        _check_fit(guest, kernel, initrd)
        words = [f"guest name={guest.name}", f"kind={guest.family}",
                 f"kernel={modules.ident(kernel.elf, 'k')}"]
        if initrd:
            words.append(f"initrd={modules.ident(initrd, 'i')}")
        words += [f"vcpus={guest.vcpus}", f"mem={format_size(guest.mem)}",
                  f"weight={guest.weight}", f"warp={guest.warp}", f"pin={guest.pin}",
                  f'cmdline="{quoted(cmdline_of(guest))}"']
        if guest.min is not None:
            words.append(f"min={format_size(guest.min)}")
        if guest.shares is not None:
            words.append(f"shares={guest.shares}")
        lines.append(" ".join(words))
    plan.config = "\n".join(lines) + "\n"
    return plan


def _debian_kernel(plan: Plan) -> Path:
    package, path = debian.linux_image()
    if str(path) not in plan.kernels:
        facts = {"file": path.name, "package": package, "version": debian.candidate(package)}
        plan.kernels[str(path)] = facts
        ui.say(f"guest kernel: {path.name} from Debian's {package} {facts['version']}")
    return path


def _check_fit(guest: Guest, kernel: Kernel, initrd: Path | None) -> None:
    size = kernel.top + (initrd.stat().st_size if initrd else 0)
    if size > guest.mem:
        raise UsageError(f"--guest {guest.kind}: {guest.name} has {guest.mem // MIB}M, but its "
                         f"kernel and initrd need {-(-size // MIB)}M")


SET_ASIDE = 0.88  # of the host: what can be set aside for guests; 6% stay free, 5% are for swap


def host_memory(plan: Plan, given: int | None) -> int:
    """Bytes of host memory: what --mem says if the guests' minima fit, else enough for all."""
    guests = sum(guest.mem for guest in plan.guests)
    overhead = 96 * MIB + guests // 32 + len(plan.guests) * MIB + 2 * plan.module_bytes
    least = sum(guest.least_mem for guest in plan.guests)
    if given is not None:
        if least + plan.module_bytes + 32 * MIB > given:
            raise UsageError(f"--mem: {format_size(given)} leaves too little for the "
                             f"{-(-least // MIB)}M that the guests are to have at least (min=)")
        return given
    need = max(guests + overhead, int((least + overhead) / SET_ASIDE))
    return max(2 * GIB, -(-need // (256 * MIB)) * 256 * MIB)
