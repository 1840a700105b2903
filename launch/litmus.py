# SPDX-License-Identifier: MIT
"""Variants of the litmus tests: each tagged ordering of the core, and named steps, left out."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from launch.errors import XylemError
from launch.litmus_list import EXCUSED
from launch.paths import ROOT

FOLDERS = ("core", "percpu", "memsvc", "ioring")
CAUGHT = 42  # exit status of the program when a test failed
_TAG = re.compile(r"PAIRS:\s*([a-z0-9_]+)")
_TEST = re.compile(r"^test (\S+) (ok|FAILED) executions=(\d+) bound=(\d+)"
                   r"(?: needed=(\d+) (.*))?$", re.MULTILINE)
_SITE = re.compile(r"^site (0x[0-9a-f]+) (\S+) (\S+)$", re.MULTILINE)
_ACCESS = re.compile(r"atomic_|__atomic|byte_ring_(load|store)|rcu_(dereference|assign)|word_cas")


@dataclass(frozen=True)
class Frame:
    """A source line, and the function that it is in."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class Site:
    """An atomic access that a test makes; frames: the line itself, then where it was inlined."""

    address: int
    kind: str
    order: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Variant:
    """One thing left out."""

    name: str  # of the ordering (its PAIRS tags) or of the step
    wrong: str
    place: str  # file:line function
    addresses: tuple[int, ...]
    tests: tuple[str, ...]


@dataclass
class Verdict:
    """What became of a variant."""

    caught_by: str = ""
    how: str = ""
    executions: int = 0
    seconds: float = 0.0


def run(program: Path, args: list[str], seconds: float = 300) -> tuple[int, str]:
    """The litmus program; its exit status and output."""
    try:
        done = subprocess.run([str(program), *args], capture_output=True, text=True, check=False,
                              timeout=seconds)
    except subprocess.TimeoutExpired:
        raise XylemError(f"litmus {' '.join(args)}: no end in {seconds:.0f} s") from None
    if done.returncode not in (0, CAUGHT) and done.returncode > 0:
        raise XylemError(f"litmus {' '.join(args)}: status {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
    return done.returncode, done.stdout + done.stderr


def tests(program: Path) -> dict[str, str]:
    """All tests and what each shows."""
    _, text = run(program, ["--list"])
    return dict(line.split("\t", 1) for line in text.splitlines())


def results(text: str) -> list[re.Match[str]]:
    """The tests' lines in the program's output."""
    return list(_TEST.finditer(text))


def resolve(program: Path, addresses: list[int]) -> dict[int, tuple[Frame, ...]]:
    """Source lines of calls that return to these addresses, innermost first."""
    if not addresses:
        return {}
    asked = "\n".join(f"{address - 1:#x}" for address in addresses)
    done = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", str(program)], input=asked,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise XylemError(f"addr2line: {done.stderr}")
    out: dict[int, list[Frame]] = {}
    frames: list[Frame] = []
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            frames = out.setdefault(int(line, 16) + 1, [])
            continue
        file, _, number = next(lines).partition(":")
        path = Path(file)
        if path.is_relative_to(ROOT):
            file = str(path.relative_to(ROOT))
        frames.append(Frame(file, int(re.match(r"\d*", number)[0] or 0), line))  # type: ignore
    return {address: tuple(found) for address, found in out.items()}


def sites(program: Path, test: str) -> list[Site]:
    """The atomic accesses of the core that a test makes."""
    status, text = run(program, ["--sites", "--executions", "2000", test])
    if status:
        raise XylemError(f"the intact core fails: {text}")
    found = [(int(m[1], 16), m[2], m[3]) for m in _SITE.finditer(text)]
    frames = resolve(program, [address for address, _, _ in found])
    return [Site(address, kind, order, frames.get(address, ()))
            for address, kind, order in found
            if any(frame.file.startswith(FOLDERS) for frame in frames.get(address, ()))]


def _statement(lines: list[str], at: int) -> int:
    """The last line of the statement that begins at (0-based) line 'at'."""
    seen = False
    for end in range(at, min(at + 8, len(lines))):
        code = re.sub(r"/\*.*?\*/|/\*.*", "", lines[end]).rstrip()
        seen = seen or bool(_ACCESS.search(code))
        if seen and code.endswith((";", "{")):
            return end
    return at


@cache
def tagged(file: str) -> dict[int, frozenset[str]]:
    """By line (from 1): the tags of the ordering edges that this line is an end of."""
    lines = (ROOT / file).read_text().splitlines()
    out: dict[int, set[str]] = {}
    begin = 0
    for at, line in enumerate(lines):
        if "/*" in line:
            begin = at
        tags = _TAG.findall(line)
        if not tags:
            continue
        end = at
        while "*/" not in lines[end]:
            end += 1
        alone = lines[begin].lstrip().startswith("/*") and lines[end].rstrip().endswith("*/")
        first = end + 1 if alone else begin
        if first >= len(lines):
            continue
        if lines[first][:1].isspace():
            last = _statement(lines, first)
        elif re.match(r"[a-z].*\(.*[^;]$", lines[first]):  # a function: all of it
            last = next(i for i in range(first, len(lines)) if lines[i].startswith("}"))
        else:
            continue  # the comment at the top
        for number in range(first, last + 1):
            out.setdefault(number + 1, set()).update(tags)
    return {line: frozenset(tags) for line, tags in out.items()}


def _ends(site: Site) -> list[tuple[Frame, frozenset[str]]]:
    return [(frame, tagged(frame.file)[frame.line]) for frame in site.frames
            if frame.file.startswith(FOLDERS) and frame.line in tagged(frame.file)]


# relax first: it is what the tag is about.
_STEPS = {"load": ["again"], "store": ["skip"], "rmw": ["split", "skip", "again"],
          "cas": ["split", "force"], "fence": []}


def _wrongs(site: Site, tags: frozenset[str]) -> list[str]:
    if site.order == "relaxed":
        return ["split"] if site.kind in ("rmw", "cas") else []
    out = ["relax"]
    # Of an access that is both, the fence in it apart from the rest.
    if site.order == "seq_cst" and len(tags) > 1:
        out.append("weaken")
    return out + _STEPS[site.kind]


def _tests_for(name: str, by: set[str]) -> tuple[str, ...]:
    """Those that are about it first; the others just come by."""
    words = set(re.split("[_,]", name))
    return tuple(sorted(by, key=lambda test: (-len(words & set(test.split("_"))), test))[:3])


def variants(program: Path, names: list[str]) -> list[Variant]:
    """Each ordering edge of the core that these tests make, with all that can be left out of it."""
    found: dict[tuple[str, str, str], tuple[set[int], set[str]]] = {}
    for test in names:
        for site in sites(program, test):
            for frame, tags in _ends(site):
                for wrong in _wrongs(site, tags):
                    key = (",".join(sorted(tags)), f"{frame.file}:{frame.line} {frame.function}",
                           wrong)
                    addresses, by = found.setdefault(key, (set(), set()))
                    addresses.add(site.address)
                    by.add(test)
    order = ["relax", "weaken", "again", "skip", "split", "force"]
    return [Variant(name, wrong, place, tuple(sorted(addresses)), _tests_for(name, by))
            for (name, place, wrong), (addresses, by)
            in sorted(found.items(), key=lambda item: (*item[0][:2], order.index(item[0][2])))]


def end_of(variant: Variant) -> tuple[str, str, str]:
    """The end of an edge that a variant is of: (tags, file, function)."""
    return variant.name, variant.place.split(":")[0], variant.place.split()[-1]


def excuse(end: tuple[str, str, str]) -> str:
    """Why this end need not be seen; '' if it must."""
    for excused in EXCUSED:
        if (excused.tag in end[0].split(",") and excused.file == end[1]
                and excused.function == end[2]):
            return excused.why
    return ""


def all_tags() -> set[str]:
    """Every ordering edge that the portable core names."""
    out: set[str] = set()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            for tags in tagged(str(path.relative_to(ROOT))).values():
                out |= tags
    return out


def judge(program: Path, variant: Variant, most: int) -> Verdict:
    """Run a variant under the tests that come by, until one sees it."""
    where = ",".join(f"{address:#x}" for address in variant.addresses)
    verdict = Verdict()
    for test in variant.tests:
        status, text = run(program, ["--variant", f"{variant.wrong}:{where}", "--executions",
                                     str(most), test])
        if status == 0:
            found = results(text)
            verdict.executions += int(found[0][3]) if found else 0
            continue
        verdict.caught_by = test
        found = results(text)
        if status < 0 or not found:
            verdict.how = f"ended by signal {-status}"
        else:
            verdict.executions = int(found[0][3])
            verdict.how = found[0][6]
        break
    return verdict


def explained(program: Path, text: str) -> str:
    """A message with its addresses as source lines."""
    addresses = [int(word, 16) for word in re.findall(r"0x[0-9a-f]{5,8}\b", text)]
    for address, frames in resolve(program, addresses).items():
        if frames and frames[0].line:
            text = text.replace(f"{address:#x}", f"{frames[0].file}:{frames[0].line}")
    return text
