# SPDX-License-Identifier: MIT
"""Checks of the source tree itself: format, clang-tidy, and this project's rules."""

import argparse
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launch import build, sitecheck, ui
from launch.paths import ROOT
from launch.tally import Tally

MAX_LINES = 700
_PAIR = re.compile(r"PAIRS:\s*([a-z0-9_]+)")


def files(*suffixes: str) -> list[Path]:
    """Tracked files with these suffixes (all files when none is given)."""
    names = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT,
                           capture_output=True, check=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names
            if name and (not suffixes or name.endswith(suffixes)) and (ROOT / name).is_file()]


def formatting(tally: Tally, args: argparse.Namespace) -> None:
    """clang-format has nothing to change in any tracked C file."""
    sources = [str(path) for path in files(".c", ".h")]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *sources], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    bad = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "error:" in line})
    tally.add(f"clang-format: {len(sources)} files", done.returncode == 0,
              "\n".join(bad) or done.stderr)


def rules(tally: Tally, args: argparse.Namespace) -> None:
    """Licence lines, file lengths, and ordering edges that have both ends."""
    sources = files(".c", ".h", ".S", ".lds", ".py", ".sh", ".cmake", "CMakeLists.txt")
    texts = {str(path.relative_to(ROOT)): path.read_text(errors="replace") for path in sources}
    missing = [name for name, text in texts.items()
               if "SPDX-License-Identifier: MIT" not in "\n".join(text.splitlines()[:3])]
    tally.add("every source file names its licence", not missing, "\n".join(missing))
    long = [f"{name}: {text.count(chr(10))} lines" for name, text in texts.items()
            if text.count("\n") > MAX_LINES]
    tally.add(f"no file is longer than {MAX_LINES} lines", not long, "\n".join(long))
    ends: dict[str, list[str]] = {}
    for name, text in texts.items():
        if name.endswith((".c", ".h", ".S")):
            for match in _PAIR.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                ends.setdefault(match[1], []).append(f"{name}:{line}")
    uncounted = sitecheck.check(texts)
    tally.add("locks, CAS-retry loops and spins are counted", not uncounted, "\n".join(uncounted))
    single = [f"{tag}: only at {places[0]}" for tag, places in ends.items() if len(places) < 2]
    tally.add(f"ordering edges have both ends ({len(ends)} tags)", not single, "\n".join(single))


def tidy(tally: Tally, args: argparse.Namespace) -> None:
    """clang-tidy on every C file of the host build, its warnings being errors."""
    where = build.build("host", [], "the host tests")
    commands = json.loads((where / "compile_commands.json").read_text())
    sources = sorted({entry["file"] for entry in commands
                      if entry["file"].endswith(".c")
                      and not Path(entry["file"]).is_relative_to(where)})
    if args.match:
        sources = [name for name in sources if args.match in name]
    progress = ui.Progress()

    def check(source: str) -> tuple[str, int, str]:
        done = subprocess.run(["clang-tidy", "--quiet", "-p", str(where), source], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        return source, done.returncode, done.stdout + done.stderr

    bad = ""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for index, (source, status, text) in enumerate(pool.map(check, sources)):
            progress.show(f"xylem: clang-tidy {index + 1} of {len(sources)}")
            if status:
                bad += f"{source}:\n{text}\n"
    progress.clear()
    tally.add(f"clang-tidy: {len(sources)} files", not bad, bad)
