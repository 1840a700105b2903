# SPDX-License-Identifier: MIT
"""The two kinds of failure the user sees as one line."""

import argparse
from typing import NoReturn


class UsageError(Exception):
    """The user's input is wrong: exit status 2. Always one printable line."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(char if char.isprintable() else repr(char)[1:-1]
                                 for char in text))


class XylemError(Exception):
    """Something needed could not be done: exit status 1."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, not a usage text."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)
