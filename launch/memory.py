# SPDX-License-Identifier: MIT
"""Memory records of the hypervisor (core/mem_stats.h): series, live view, final table."""

from dataclasses import dataclass, field
from typing import Any

from launch import table

PAGE = 4096
PAGES_PER_MIB = 256

# The columns of a `mem` record's rows, in their order; all but the name are pages or numbers.
FIELDS = ("name", "given", "touched", "allocated", "active", "shared", "zero", "swapped",
          "ballooned", "overhead", "target", "balloon", "shares", "saved", "broken", "scanned",
          "hints", "tables", "records")
_SHOWN = ("given", "touched", "allocated", "active", "shared", "saved", "ballooned", "swapped",
          "target")
_EVENTS = ("broken", "scanned", "hints")  # in the final table; not MiB but how often


def mib(pages: float | None) -> str:
    """Pages as MiB, for a table."""
    if pages is None:
        return "-"
    value = pages / PAGES_PER_MIB
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


@dataclass
class Sample:
    """All numbers of one moment."""

    t_s: float
    seq: int
    guests: dict[str, dict[str, int]] = field(default_factory=dict)
    total: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """An element of mem_series[]."""
        return {"t_s": self.t_s, "total": self.total, "guests": self.guests}


class MemoryLog:
    """Collects the records of one run. A sample is whole when its total has come."""

    def __init__(self) -> None:
        self.series: list[Sample] = []
        self._final: dict[str, Any] | None = None
        self._open: Sample | None = None

    def take(self, record: dict[str, Any]) -> bool:
        """Take a `mem` or `memory` record; true when a sample became whole."""
        t_s = round(record.get("t_ns", 0) / 1e9, 6)
        if record["ev"] == "memory":
            self._final = {"t_s": t_s, **{key: value for key, value in record.items()
                                          if key not in ("ev", "t_ns")}}
            return False
        if self._open is None or self._open.seq != record.get("seq"):
            self._open = Sample(t_s, record.get("seq", 0))
        for row in record.get("dom", ()):
            if len(row) >= FIELDS.index("tables"):
                self._open.guests[str(row[0])] = dict(zip(FIELDS[1:], row[1:]))
        if "total" not in record:
            return False
        self._open.total = record["total"]
        self.series.append(self._open)
        self._open = None
        return True

    @property
    def last(self) -> Sample | None:
        """The newest whole sample."""
        return self.series[-1] if self.series else None

    def final(self) -> dict[str, Any] | None:
        """
        What the guests' memory came to: the hypervisor's own last word; without one
        (it was killed), the last sample that has nine tenths of the memory ever given.
        """
        if self._final is not None:
            return self._final
        sample = self.final_sample()
        if sample is None:
            return None
        total = sample.total
        return {"t_s": sample.t_s,
                **{f"{key}_pages": total.get(key) for key in ("given", "touched")},
                "frames_used": total.get("used"),
                **{f"{key}_pages": total.get(key)
                   for key in ("shared", "saved", "swapped", "ballooned")}}

    def final_sample(self) -> Sample | None:
        """The sample that belongs to final()."""
        if self._final is not None:
            until = [sample for sample in self.series if sample.t_s <= self._final["t_s"] + 1e-9]
            return until[-1] if until else None
        most = max((sample.total.get("given", 0) for sample in self.series), default=0)
        good = [sample for sample in self.series if sample.total.get("given", 0) >= 0.9 * most]
        return good[-1] if good else None

    def rate(self, key: str) -> float | None:
        """Per second, from the last two samples."""
        if len(self.series) < 2:
            return None
        before, now = self.series[-2:]
        if key not in now.total or key not in before.total or now.t_s <= before.t_s:
            return None
        return float(now.total[key] - before.total[key]) / (now.t_s - before.t_s)


def headline(log: MemoryLog, sample: Sample) -> str:
    """All of the host in one line."""
    total = sample.total
    words = [f"memory {total.get('state', '?')}",
             f"{mib(total.get('used'))} of {mib(total.get('frames'))} MiB used",
             f"saved {mib(total.get('saved'))}"]
    if total.get("swapped"):
        words.append(f"swapped {mib(total['swapped'])}")
    if total.get("ballooned"):
        words.append(f"ballooned {mib(total['ballooned'])}")
    if "tax" in total:
        words.append(f"tax {total['tax']}%")
    rate = log.rate("scanned")
    if rate:
        words.append(f"scan {rate:.0f}/s")
    return ", ".join(words)


def _cells(guests: list[dict[str, int]], events: tuple[str, ...]) -> list[str]:
    """One row, of one guest or several."""
    sums = [sum(values.get(key, 0) for values in guests) for key in (*_SHOWN, *events)]
    return [*map(mib, sums[:len(_SHOWN)]), *map(str, sums[len(_SHOWN):])]


def rows(sample: Sample, most: int, events: tuple[str, ...] = ()) -> list[list[str]]:
    """One row per guest, the largest first; more than 'most' are summed up in the last row."""
    guests = sorted(sample.guests.items(),
                    key=lambda item: (-item[1].get("allocated", 0), item[0]))
    shown, rest = (guests, []) if len(guests) <= most else (guests[:most - 1], guests[most - 1:])
    out = [[name, *_cells([values], events)] for name, values in shown]
    if rest:
        out.append([f"{len(rest)} more", *_cells([values for _, values in rest], events)])
    return out


def view(log: MemoryLog, height: int, width: int) -> list[str]:
    """The live view: at most 'height' lines of at most 'width' characters."""
    sample = log.last
    if sample is None:
        return []
    out = [headline(log, sample)]
    if sample.guests and height >= 3:
        out += table.plain(["MiB", *_SHOWN], rows(sample, height - 2))
    return [line[:width] for line in out[:height]]


def line(log: MemoryLog) -> str:
    """The live view where nothing can be redrawn: one line."""
    sample = log.last
    if sample is None:
        return ""
    guests = [f"{name} {mib(values['allocated'])}/{mib(values['given'])}"
              for name, values in list(sample.guests.items())[:6]]
    if len(sample.guests) > 6:
        guests.append(f"{len(sample.guests) - 6} more")
    return f"{sample.t_s:.1f} s: {'; '.join([headline(log, sample), *guests])}"


def final_table(log: MemoryLog) -> str:
    """What is printed at the end of a run; '' without any sample."""
    sample, final = log.final_sample(), log.final()
    if sample is None or final is None or not sample.guests:
        return ""
    sums = ["all", *_cells(list(sample.guests.values()), _EVENTS)]
    text = "\n".join(table.plain([f"MiB at {sample.t_s:.1f} s", *_SHOWN, *_EVENTS],
                                 [*rows(sample, 64, _EVENTS), sums]))
    return f"{text}\n{_verdict(final)}"


def _verdict(final: dict[str, Any]) -> str:
    given, touched = final.get("given_pages"), final.get("touched_pages")
    words = [f"frames in use: {mib(final.get('frames_used'))} MiB"]
    if given and final.get("frames_used") is not None:
        words[0] += f", {100 * final['frames_used'] / given:.1f}% of what was given"
    if touched:
        for key in ("shared", "saved"):
            value = final.get(f"{key}_pages")
            if value is not None:
                words.append(f"{key}: {mib(value)} MiB, {100 * value / touched:.1f}% of what was "
                             "touched")
    return "; ".join(words)
