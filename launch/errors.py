# SPDX-License-Identifier: MIT
"""The two kinds of failure the user sees as one line."""

import argparse
from typing import NoReturn


class UsageError(Exception):
    """The user's input is wrong: exit status 2."""


class XylemError(Exception):
    """Something needed could not be done: exit status 1."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, not a usage text."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)
