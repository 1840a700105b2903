# SPDX-License-Identifier: MIT
"""./xylem iso: a GRUB-bootable CD image with the hypervisor and guests on it."""

import argparse
import shutil
import tempfile
from pathlib import Path

from launch import build, plan, ui
from launch.errors import Parser, XylemError
from launch.run import EPILOG, check_early, machine_options, settings

GRUB_CFG = """\
serial --unit=0 --speed=115200
terminal_input console
terminal_output console
set timeout=0
menuentry "Xylem" {{
	echo "Loading Xylem ..."
	multiboot /boot/xylem.elf {options}
{modules}
	boot
}}
"""


def make_iso(where: Path, boot_plan: plan.Plan, options: str, out: Path) -> None:
    """Write the image; where: build directory with xylem.elf."""
    with tempfile.TemporaryDirectory(prefix="xylem-iso-") as temp:
        root = Path(temp) / "root"
        boot = root / "boot"
        (boot / "grub").mkdir(parents=True)
        shutil.copy(where / "xylem.elf", boot / "xylem.elf")
        staging = Path(temp) / "modules"
        staging.mkdir()
        lines = []
        for path, ident in boot_plan.stage(staging):
            shutil.copy(path.resolve(), boot / ident)
            lines.append(f"\tmodule /boot/{ident} {ident}")
        (boot / "grub" / "grub.cfg").write_text(
            GRUB_CFG.format(options=options, modules="\n".join(lines)))
        image = Path(temp) / "xylem.iso"
        ui.step("making the ISO image",
                ["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", str(image), str(root)])
        try:
            shutil.move(str(image), str(out))
        except OSError as error:
            raise XylemError(f"cannot write {out}: {error.strerror}") from None


def main(argv: list[str]) -> int:
    """The command."""
    parser = Parser(prog="./xylem iso", description="Make a GRUB-bootable ISO image (BIOS).",
                    epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="xylem.iso",
                        help="the image (xylem.iso)")
    args = parser.parse_args(argv)
    pcpus, mem, guests = check_early(args)
    where = build.hypervisor()
    mini = build.mini_kernel(where) if any(g.family == "mini" for g in guests) else None
    boot_plan = plan.make_plan(guests, mini, settings(args))
    make_iso(where, boot_plan, " ".join(args.hv), Path(args.output))
    need = plan.host_memory(boot_plan, mem) >> 20
    print(f"{args.output}: boots {len(guests)} guests; to try it:\n"
          f"  qemu-system-x86_64 -M q35 -cpu max,-smap -smp {pcpus} -m {need}M -no-reboot \\\n"
          f"    -display none -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=0x04 \\\n"
          f"    -cdrom {args.output}")
    return 0
