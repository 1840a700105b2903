# SPDX-License-Identifier: MIT
"""./xylem stress: the suite; ./xylem stress NAME: one stress run of its own."""

from launch import suite
from launch.dispatch import dispatcher

_named = dispatcher("stress", "stress run")


def main(argv: list[str]) -> int:
    """The command."""
    if argv and not argv[0].startswith("-"):
        return _named(argv)
    return suite.main(argv)
