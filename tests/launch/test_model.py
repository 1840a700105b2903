# SPDX-License-Identifier: MIT
"""What ./xylem model makes of Spin's reports, and of the models' files."""

import re
import unittest

from launch import model

_HELD = """
State-vector 80 byte, depth reached 709, errors: 0
   994514 states, stored
   76.123\ttotal actual memory usage
"""


class Judge(unittest.TestCase):
    """model._judge(): only a complete search without an error counts."""

    def test_complete(self) -> None:
        out = model._judge(_HELD)
        self.assertEqual((out.problem, out.states, out.depth, out.violated),
                         ("", 994514, 709, False))

    def test_violation(self) -> None:
        out = model._judge("pan:1: assertion violated (word!=settled) (at depth 44)\n"
                           "pan: wrote guard.pml.trail\n" + _HELD.replace("errors: 0", "errors: 1"))
        self.assertTrue(out.violated)
        self.assertEqual(out.problem, "assertion violated (word!=settled) (at depth 44)")

    def test_deadlock_is_an_error_but_no_catch(self) -> None:
        out = model._judge("pan:1: invalid end state (at depth 57)\n"
                           + _HELD.replace("errors: 0", "errors: 1"))
        self.assertFalse(out.violated)
        self.assertTrue(out.problem)

    def test_cut_short(self) -> None:
        for note in ("Warning: Search not completed\n", "error: max search depth too small\n"):
            self.assertTrue(model._judge(note + _HELD).problem)
        self.assertTrue(model._judge("pan: out of memory\n").problem)


class Models(unittest.TestCase):
    """Every define that a variant sets is looked at by its model."""

    def test_defines_are_used(self) -> None:
        for one in model.MODELS:
            texts = [(model.SOURCES / one.source).read_text()]
            for included in re.findall(r'#include "(.*)"', texts[0]):
                texts.append((model.SOURCES / included).read_text())
            for name in [word.partition("=")[0] for word in one.defines] + \
                    [name for name, _ in one.broken]:
                with self.subTest(model=one.name, define=name):
                    self.assertRegex("\n".join(texts), rf"\b{name}\b")
