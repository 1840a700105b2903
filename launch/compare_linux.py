# SPDX-License-Identifier: MIT
"""The Linux guest of ./xylem bench compare: its initramfs, a compiler and a tree to compile."""

import hashlib
from pathlib import Path

from launch import debian, initramfs, ui
from launch.compare import Work
from launch.cpio import Archive
from launch.guestspec import Guest
from launch.paths import cache_dir

FILES, FUNCTIONS = 12, 40
CMDLINE = "console=hvc0 quiet rdinit=/init"


def tree() -> dict[str, str]:
    """A C tree in the manner of a kernel: headers that include each other, tables, functions."""
    header = "".join(f"struct s{n} {{ long a[{n % 7 + 1}]; struct s{n - 1 if n else 0} *next; "
                     f"int (*op)(struct s{n} *, int); }};\n"
                     f"#define GET{n}(p) ((p)->a[{n % (n % 7 + 1)}] + {n})\n" for n in range(60))
    files = {"defs.h": f"#ifndef DEFS_H\n#define DEFS_H\n{header}#endif\n"}
    for index in range(FILES):
        body = ['#include "defs.h"']
        for fn in range(FUNCTIONS):
            kind = (index * 7 + fn) % 60
            body.append(f"""\
static int helper{fn}(struct s{kind} *p, int x)
{{
	int i, sum = {fn};

	for (i = 0; i < x; i++) {{
		if (GET{kind}(p) & 1)
			sum += i * {fn + 3};
		else
			sum ^= (int)p->a[0] >> (i & 7);
		switch (sum & 3) {{
		case 0: sum++; break;
		case 1: sum -= x; break;
		default: sum = (sum << 1) | 1;
		}}
	}}
	return sum;
}}

int unit{index}_fn{fn}(struct s{kind} *p, int x)
{{
	if (!p || x < {fn})
		return -{fn + 1};
	p->op = helper{fn};
	return p->op(p, x) + {'unit%d_fn%d((void *)p, x)' % (index, fn - 1) if fn else '0'};
}}
""")
        files[f"unit{index}.c"] = "\n".join(body)
    return files


def _compiler() -> dict[str, bytes]:
    """Debian's tcc with the libraries it needs, by path in the initramfs."""
    return initramfs.program_files("tcc", "usr/bin/tcc")


def initrd(init: Path, compiler: bool) -> Path:
    """The initramfs, kept in the cache."""
    key = hashlib.sha256(init.read_bytes() + Path(__file__).read_bytes())
    key.update(debian.candidate("tcc").encode() if compiler else b"none")
    path = cache_dir() / f"bench-{key.hexdigest()[:16]}.cpio"
    if path.exists():
        return path
    ui.say("making the initramfs of the measuring guest")
    archive = Archive()
    for name in ("dev", "proc", "tmp"):
        archive.directory(name)
    archive.chardev("dev/console", 5, 1)
    archive.chardev("dev/null", 1, 3, 0o666)
    archive.file("init", init.read_bytes(), 0o755)
    if compiler:
        for name, data in _compiler().items():
            archive.file(name, data, 0o755)
        for name, text in tree().items():
            archive.file(f"src/{name}", text.encode())
    part = path.with_suffix(f".{id(key)}.part")
    part.write_bytes(archive.finish())
    part.replace(path)
    return path


def work(where: Path, timeout: float) -> Work:
    """Debian's kernel with the measuring program as its first process."""
    _, vmlinuz = debian.linux_image()
    guest = Guest("linux", "bench", vcpus=1, mem=256 << 20, kernel=vmlinuz,
                  initrd=initrd(where / "guest" / "linux_bench", True), cmdline=CMDLINE)
    return Work("linux", guest, None, r"bench: done", timeout)
