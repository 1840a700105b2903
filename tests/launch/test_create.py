# SPDX-License-Identifier: MIT
"""Guests that are created and destroyed while others run: the launcher's side."""

import unittest

from launch import control, report
from launch.errors import UsageError
from launch.records import GuestResult, Results

START = '{"ev":"start","guest":"%s","domid":3,"kind":"mini","vcpus":2,"mem_kib":8192,"t_ns":5000}'
END = '{"ev":"end","guest":"%s","domid":3,"kind":"mini","state":"%s","reason":"%s"}'


class Words(unittest.TestCase):
    """What ./xylem ctl takes."""

    def test_taken(self) -> None:
        for words in ("create c1 mini1", "create c1 mini1 seed=5 mode=x", "destroy c1",
                      "pin c1 all", "pin c1 0-3+5"):
            self.assertEqual(control.check_words(words.split()), words.split())

    def test_refused(self) -> None:
        for words, named in (("create c1", "create NAME LIKE"), ("destroy", "missing"),
                             ("create c$1 mini1", "c$1"), ("destroy a b", "'b' is too much"),
                             ("pin c1 0-", "'0-'"), ("pin c1", "pin NAME all|0-3+5"),
                             ('create c1 mini1 a"b', 'a"b')):
            with self.assertRaises(UsageError) as caught:
                control.check_words(words.split())
            self.assertIn(named, str(caught.exception))


class Records(unittest.TestCase):
    """What becomes of their records."""

    def setUp(self) -> None:
        self.results = Results({"mini1": GuestResult("mini1", "mini", 1, 8)})

    def test_a_guest_comes_and_goes(self) -> None:
        self.results.take_record(START % "c1")
        guest = self.results.guests["c1"]
        self.assertEqual((guest.state, guest.vcpus, guest.mem_mib, guest.made),
                         ("running", 2, 8.0, True))
        self.results.take_record(END % ("c1", "destroyed", "destroyed on request"))
        self.assertEqual(guest.state, "destroyed")
        self.assertTrue(report.guest_json(guest)["created"])
        self.results.take_record(START % "c1")
        self.assertEqual(self.results.guests["c1"].state, "running")

    def test_configured_guests_stay_what_they_are(self) -> None:
        self.results.take_record(START % "mini1")
        self.assertFalse(self.results.guests["mini1"].made)
        self.assertNotIn("created", report.guest_json(self.results.guests["mini1"]))

    def test_the_table_counts_the_good_and_shows_the_bad(self) -> None:
        for name, state in (("c1", "off"), ("c2", "destroyed"), ("c3", "off"), ("c4", "crashed")):
            self.results.take_record(START % name)
            self.results.take_record(END % (name, state, "why"))
        text = report.table(self.results)
        self.assertIn("created while it ran: 1 destroyed, 2 off", text)
        self.assertIn("c4: why", text)
        self.assertNotIn("c3", text)


if __name__ == "__main__":
    unittest.main()
