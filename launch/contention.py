# SPDX-License-Identifier: MIT
"""What the hypervisor's contention sites counted (core/contention_report.h), summed and compared."""

import bisect
from typing import Any

from launch import table

COUNTS = ("acquisitions", "contended", "retries", "wait_cycles")
ELSEWHERE = "(other callers)"


class ContentionLog:
    """Takes `locks` records; 'last' is the newest complete report, as a document."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        self._sites: list[list[Any]] = []
        self._rows: list[tuple[int, list[int]]] = []
        self._calls: list[list[Any]] = []

    def take(self, record: dict[str, Any]) -> None:
        """One record."""
        if "begin" in record:
            self._sites, self._rows, self._calls = [], [], []
        elif "site" in record:
            self._sites.append(record["site"])
        elif "rows" in record:
            self._rows += [(record["cpu"], row) for row in record["rows"]]
        elif "calls" in record:
            self._calls += record["calls"]
        elif "end" in record:
            self.last = self._document(record["end"])

    def _document(self, end: dict[str, Any]) -> dict[str, Any]:
        # A site in a header is there once for each file that includes it.
        sites: dict[tuple[Any, ...], dict[str, Any]] = {}
        of_number = {}
        for number, kind, name, file, line, function in self._sites:
            site = sites.setdefault((kind, name, file, line), {
                "name": name, "kind": kind, "file": file, "line": line, "function": function,
                **dict.fromkeys(COUNTS, 0), "per_pcpu": {}})
            of_number[number] = site
        for cpu, (number, *counts) in self._rows:
            site = of_number[number]
            mine = site["per_pcpu"].setdefault(cpu, {"cpu": cpu, **dict.fromkeys(COUNTS, 0)})
            for key, value in zip(COUNTS, counts):
                site[key] += value
                mine[key] += value
        calls: dict[tuple[Any, ...], dict[str, Any]] = {}
        for number, contended, retries, wait, pcs in self._calls:
            site = of_number[number]
            call = calls.setdefault((id(site), *pcs), {
                "site": site["name"], "addresses": pcs, "contended": 0, "retries": 0,
                "wait_cycles": 0})
            call["contended"] += contended
            call["retries"] += retries
            call["wait_cycles"] += wait
        for site in sites.values():
            site["per_pcpu"] = sorted(site["per_pcpu"].values(), key=lambda one: one["cpu"])
        return {"schema": 1, **end, "sites": sorted(sites.values(), key=weight),
                "calls": sorted(calls.values(), key=weight)}


def weight(one: dict[str, Any]) -> tuple[Any, ...]:
    """Sorts by wait, then by retries, the largest first."""
    return -one["wait_cycles"], -one["retries"], -one.get("acquisitions", 0), one.get("name", "")


def resolve(document: dict[str, Any], rows: list[tuple[int, str]]) -> None:
    """Give each call its 'stack', function names from outside in; 'rows': ksyms.functions()."""
    starts = [address for address, _ in rows]

    def name(address: int) -> str:
        # A return address: the call is before it, in case it is the function's last instruction.
        place = bisect.bisect_right(starts, address - 1) - 1
        return rows[place][1].removesuffix(".cold") if place >= 0 else hex(address)
    for call in document["calls"]:
        call["stack"] = [name(address) for address in reversed(call["addresses"])]


def check(document: dict[str, Any]) -> list[str]:
    """What does not add up in a report."""
    wrong = []
    for site in document["sites"]:
        name = site["name"]
        for one in (site, *site["per_pcpu"]):
            if one["contended"] > one["acquisitions"]:
                wrong.append(f"{name}: {one['contended']} contended of {one['acquisitions']}")
            if one["retries"] < one["contended"]:
                wrong.append(f"{name}: {one['contended']} contended, {one['retries']} retries")
            if one["wait_cycles"] and not one["contended"]:
                wrong.append(f"{name}: a wait of {one['wait_cycles']} cycles, nothing contended")
        for key in COUNTS:
            if site[key] != sum(one[key] for one in site["per_pcpu"]):
                wrong.append(f"{name}: {key} is not the sum of all pCPUs'")
    for name in {call["site"] for call in document["calls"]}:
        calls = [call for call in document["calls"] if call["site"] == name]
        sites = [site for site in document["sites"] if site["name"] == name]
        for key in ("contended", "wait_cycles"):
            if sum(call[key] for call in calls) > sum(site[key] for site in sites):
                wrong.append(f"{name}: {key} of its callers is more than its own")
    return wrong


def _where(site: dict[str, Any]) -> str:
    return site["function"] or f"{site['file']}:{site['line']}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f}%" if whole else "-"


def report(document: dict[str, Any], everything: bool = False) -> str:
    """The table of sites, the longest wait first; of those never contended only the number."""
    hz = document["tsc_hz"]
    passed = [site for site in document["sites"] if site["acquisitions"]]
    shown = [site for site in passed if site["contended"] or everything]
    rows = [[site["name"], site["kind"], _where(site), f"{site['acquisitions']:,}",
             f"{site['contended']:,}", _percent(site["contended"], site["acquisitions"]),
             f"{site['retries']:,}", f"{1e3 * site['wait_cycles'] / hz:.3f}",
             f"{1e9 * site['wait_cycles'] / hz / site['contended']:,.0f}"
             if site["contended"] else "-"]
            for site in shown]
    lines = table.plain(["site", "kind", "function", "acquisitions", "contended", "", "retries",
                         "wait ms", "ns each"], rows)
    rest = [site for site in passed if site not in shown]
    unused = len(document["sites"]) - len(passed)
    lines.append(f"{len(rest)} more sites were passed {sum(site['acquisitions'] for site in rest):,} "
                 f"times, never contended; {unused} were not reached")
    return "\n".join(lines)


def _rate(site: dict[str, Any], key: str) -> float:
    return float(site[key]) / site["acquisitions"] if site["acquisitions"] else 0.0


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Each site's change between two reports, the largest change of the wait first."""
    def by_name(document: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
        # Not by line: the code may have moved.
        out: dict[tuple[str, str, str], dict[str, Any]] = {}
        for site in document["sites"]:
            one = out.setdefault((site["name"], site["kind"], site["function"]),
                                 {**dict.fromkeys(COUNTS, 0)})
            for key in COUNTS:
                one[key] += site[key]
        return out
    none = dict.fromkeys(COUNTS, 0)
    old, new = by_name(before), by_name(after)
    out = []
    for key in old.keys() | new.keys():
        a, b = old.get(key, none), new.get(key, none)
        # Each wait by its own run's clock.
        wait = [1e3 * a["wait_cycles"] / before["tsc_hz"], 1e3 * b["wait_cycles"] / after["tsc_hz"]]
        out.append({"name": key[0], "kind": key[1], "function": key[2], "wait_ms": wait,
                    "change_ms": wait[1] - wait[0],
                    **{count: [a[count], b[count]] for count in COUNTS[:3]},
                    "contended_rate": [_rate(a, "contended"), _rate(b, "contended")]})
    return sorted(out, key=lambda one: (-abs(one["change_ms"]),
                                        -abs(one["retries"][1] - one["retries"][0]), one["name"]))


def report_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The table of what has changed."""
    rows = []
    for one in difference(before, after):
        if not any(one["contended"]):
            continue
        rows.append([one["name"], one["function"],
                     *(f"{value:,}" for key in ("acquisitions", "contended") for value in one[key]),
                     *(f"{1e6 * value:,.1f}" for value in one["contended_rate"]),
                     *(f"{value:.3f}" for value in one["wait_ms"]), f"{one['change_ms']:+.3f}"])
    if not rows:
        return "nothing was contended in either"
    return "\n".join(table.plain(
        ["site", "function", "acquisitions A", "B", "contended A", "B", "per million A", "B",
         "wait ms A", "B", "change"], rows))
