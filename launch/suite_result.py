# SPDX-License-Identifier: MIT
"""What a part of the stress suite is told, and what it tells."""

from dataclasses import dataclass, field


@dataclass
class Result:
    """One run of one part."""

    part: str
    san: str
    asked: float  # seconds
    seconds: float = 0.0
    operations: int = 0
    refused: int = 0  # operations that were rightly refused
    errnos: int = 0  # kinds of errors seen
    ends: dict[str, int] = field(default_factory=dict)  # how guests ended
    note: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong, and something happened."""
        return not self.wrong and self.operations > 0


@dataclass
class Job:
    """What to do."""

    part: str
    seconds: int
    seed: int
    san: str = ""

    def result(self) -> Result:
        """An empty result for it."""
        return Result(self.part, self.san, self.seconds)
