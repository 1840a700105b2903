# SPDX-License-Identifier: MIT
"""Memory records, views, plots and the control socket."""

import contextlib
import io
import json
import os
import random
import re
import socket
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from unittest import mock

from launch import control, ctl, machine, memory, plot, report, run, svg, ui
from launch.errors import UsageError, XylemError
from launch.guestspec import Guest, expand
from launch.machine import Options
from launch.paths import ROOT
from launch.plan import Plan, make_plan
from launch.records import Results
from launch.session import Limits, Outcome, Session

from tests.launch.fake_qemu import sample
from tests.launch.helpers import FileCase, elf, quiet

FAKE = str(Path(__file__).with_name("fake_qemu.py"))


def log_of(*lines: str) -> memory.MemoryLog:
    """What these records come to."""
    results = Results({})
    for line in lines:
        results.take_record(line)
    return results.memory


class Samples(unittest.TestCase):
    def test_rows_of_several_records_make_one_sample(self) -> None:
        more = '{"ev":"mem","seq":1,"t_ns":5,"dom":[["g2",10,1,1,1,0,0,0,0,0,10,0,80,0,0,0,0]]}'
        first, total = sample(1, 1.0, 2048, 1200)
        log = log_of(first, more)
        self.assertEqual(log.series, [])
        log.take(json.loads(total))
        self.assertEqual(sorted(log.series[0].guests), ["g1", "g2"])
        self.assertEqual(log.series[0].guests["g1"],
                         dict(zip(memory.FIELDS[1:], (2048, 1500, 1000, 512, 256, 128, 64, 32, 40,
                                                      2048, 32, 80, 200, 9, 300, 100))))
        self.assertEqual(log.series[0].json()["total"]["used"], 1200)

    def test_a_sample_without_its_total_is_left_out(self) -> None:
        log = log_of(sample(1, 1.0, 2048, 1200)[0], *sample(2, 2.0, 2048, 1300))
        self.assertEqual([one.seq for one in log.series], [2])

    def test_final_is_the_hypervisors_word(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 2048, 1300),
                     '{"ev":"memory","t_ns":1000000000,"given_pages":2048,"frames_used":77}')
        final, at = log.final(), log.final_sample()
        assert final and at
        self.assertEqual((final["frames_used"], final["t_s"], at.seq), (77, 1.0, 1))

    def test_without_it_the_last_sample_with_most_guests(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 1900, 1300),
                     *sample(3, 3.0, 256, 300))
        final = log.final()
        assert final
        self.assertEqual((final["t_s"], final["given_pages"], final["frames_used"],
                          final["saved_pages"]), (2.0, 1900, 1300, 245))
        self.assertIsNone(memory.MemoryLog().final())

    def test_rates(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200))
        self.assertIsNone(log.rate("scanned"))
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 1.5, 2048, 1200))
        self.assertEqual(log.rate("scanned"), 2000.0)
        self.assertIsNone(log.rate("nothing"))


class Views(unittest.TestCase):
    def test_fits_height_and_width(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200))
        for index in range(20):
            log.series[0].guests[f"guest{index}"] = dict(log.series[0].guests["g1"],
                                                        allocated=2000 + index)
        for height in range(0, 30):
            for width in (20, 79, 200):
                lines = memory.view(log, height, width)
                self.assertLessEqual(len(lines), height)
                self.assertTrue(all(len(line) <= width for line in lines))
        lines = memory.view(log, 8, 200)
        self.assertIn("memory high, 4.7 of 32.0 MiB used, saved 1.0", lines[0])
        self.assertTrue(lines[2].startswith("guest19"), lines)
        self.assertRegex(lines[-1], r"^16 more +128 ")

    def test_tables(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 2048, 1400))
        text = memory.final_table(log)
        self.assertRegex(text, r"g1 +8\.0 +5\.9 +3\.9 +2\.0 +1\.0 +0\.8 +0\.1 +0\.2 +8\.0 +9 +300 +100")
        self.assertIn("68.4% of what was given", text)
        self.assertIn("saved: 1.0 MiB, 16.3% of what was touched", text)
        self.assertEqual(memory.final_table(memory.MemoryLog()), "")
        self.assertIn("g1 3.9/8.0", memory.line(log))

    def test_a_board_removes_what_it_drew(self) -> None:
        out = io.StringIO()
        with mock.patch("sys.stdout", out):
            board = ui.Board(lambda height, width: ["one", "two"])
            board.clear()
            self.assertEqual(out.getvalue(), "")
            board.show("status")
            self.assertEqual(out.getvalue(), "status\none\ntwo")
            board.show("again")  # too soon
            board.clear()
            self.assertEqual(out.getvalue(), "status\none\ntwo\r\033[2A\033[J")
            board.clear()
        self.assertEqual(out.getvalue().count("\033[J"), 1)


def screen(text: str) -> list[str]:
    """What a terminal shows after this output."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\033\[[0-9]*[A-Z]|.|\n", text):
        if part == "\n":
            row, column = row + 1, 0
            if row == len(rows):
                rows.append("")
        elif part == "\r":
            column = 0
        elif part.endswith("A") and part[0] == "\033":
            row -= int(part[2:-1])
        elif part == "\033[J":
            rows = [*rows[:row], rows[row][:column]]
        else:
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + 1:]
            column += 1
    return rows


class Boards(unittest.TestCase):
    def test_guests_lines_stay_whole(self) -> None:
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        out, printed = io.StringIO(), []
        clock = iter(range(100000))
        with mock.patch("sys.stdout", out), mock.patch("time.monotonic", lambda: next(clock)), \
                mock.patch("shutil.get_terminal_size", lambda: os.terminal_size((20, 24))):
            board = ui.Board(lambda height, width: ["x" * width] * rng.randrange(height + 1))
            for index in range(500):
                board.show("status line that is much too long for this terminal")
                if rng.random() < 0.5:
                    board.clear()
                    out.write(f"line {index}\n")
                    printed.append(f"line {index}")
            self.assertEqual(screen(out.getvalue())[:len(printed)], printed, f"seed {seed}")
            self.assertTrue(all(len(line) < 20 for line in screen(out.getvalue())))
            board.clear()
        self.assertEqual(screen(out.getvalue()), [*printed, ""], f"seed {seed}")


class Documents(FileCase):
    def test_a_file_with_a_series_reads_back(self) -> None:
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 2048, 1400))
        data = {"schema": 1, "mem_series": [one.json() for one in log.series], "last": {"a": 1}}
        for one in (data, {"schema": 1, "mem_series": []}):
            report.write_json(self.dir / "out.json", one)
            self.assertEqual(json.loads((self.dir / "out.json").read_text()), one)

    def test_columns_are_those_of_the_hypervisor(self) -> None:
        text = re.sub(r"\s*\n \* ", "", (ROOT / "core" / "mem_stats.h").read_text())
        row = re.search(r'ROW: \["NAME",([a-z,]+)\]', text)
        assert row
        self.assertEqual(("name", *row[1].split(",")), memory.FIELDS)


class Plots(FileCase):
    def document(self) -> dict[str, Any]:
        log = log_of(*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 2048, 1400))
        return {"mem_series": [one.json() for one in log.series]}

    def plot(self, data: Any, *words: str) -> str:
        source = self.dir / "out.json"
        source.write_text(data if isinstance(data, str) else json.dumps(data))
        with quiet():
            self.assertEqual(plot.main([str(source), *words]), 0)
        text = (self.dir / "out.svg").read_text()
        root = ElementTree.fromstring(text)
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        return text

    def test_a_run(self) -> None:
        text = self.plot(self.document())
        for word in ("Memory of the host", "Frames of each guest", ">saved by sharing<", ">g1<",
                     "seconds", "MiB", "prefers-color-scheme: dark"):
            self.assertIn(word, text)

    def test_many_guests(self) -> None:
        data = self.document()
        for one in data["mem_series"]:
            one["guests"] = {f"g{index}": {"allocated": 256 * index} for index in range(64)}
        self.assertIn(">median guest<", self.plot(data))
        lines = plot.guest_chart(data["mem_series"], "allocated", "x")
        assert lines
        self.assertEqual([one["points"][0][1] for one in lines["series"]], [63, 32, 0])

    def test_one_guest(self) -> None:
        self.assertIn("Memory of g1", self.plot(self.document(), "--guest", "g1"))

    def test_charts_of_a_benchmark(self) -> None:
        text = self.plot({"charts": [
            {"title": "a < b & c", "x": "VMs", "y": "MiB",
             "series": [{"name": "s", "points": [[1, 2], [2, None], [3, 4.5]], "marks": True}],
             "levels": [{"name": "most", "y": 4}]},
            {"title": "bars", "x": "size", "y": "MB/s", "kind": "bars", "categories": ["1", "2"],
             "series": [{"name": "t", "values": [3, None]}]}]})
        self.assertIn("a &lt; b &amp; c", text)
        root = ElementTree.fromstring(text)
        shapes = [node.tag.split("}")[1] for node in root.iter()]
        self.assertEqual(shapes.count("circle"), 2)
        self.assertEqual(shapes.count("rect"), 3)  # page, one bar, its legend

    def test_refusals(self) -> None:
        good = self.document()
        for data, named in (
                ("{", "not JSON"), ("[]", "not a JSON object"), ("{}", "nothing to draw"),
                ({"mem_series": [{"t_s": "x"}]}, "'mem_series'"),
                ({"charts": [{"title": "x"}]}, "'charts'"),
                ({"charts": [{"title": "x", "x": "", "y": "", "series": [
                    {"name": "s", "points": [[1, "2"]]}]}]}, "'charts'")):
            with self.subTest(data=data), self.assertRaisesRegex(UsageError, named):
                self.plot(data)
        with self.assertRaisesRegex(UsageError, "'g9'"):
            self.plot(good, "--guest", "g9")
        with self.assertRaisesRegex(UsageError, "No such file"):
            plot.main([str(self.dir / "none.json")])

    def test_axes(self) -> None:
        for span, count in ((1, 5), (7, 5), (0.003, 8), (12345, 5), (1e9, 8)):
            step = svg.nice_step(span, count)
            self.assertLessEqual(span / step, count + 1e-6)
            self.assertGreater(span / step, count / 2.6)
        self.assertEqual(svg.ticks(0, 10, 5), [0, 2, 4, 6, 8, 10])
        self.assertEqual([svg.number(value) for value in (0, 0.25, 1500, 2e6)],
                         ["0", "0.25", "1,500", "2M"])


class Words(FileCase):
    def test_good(self) -> None:
        for words in ("list", "balloon linux1 4096", "balloon linux1 auto", "shares a-b.c_1 5",
                      "min m 0", "tax 100", "scan-rate 0", "scan-rate m 100", "mem-period 500",
                      "set mem.swap 0"):
            self.assertEqual(control.check_words(words.split()), words.split())

    def test_each_refusal_names_the_word(self) -> None:
        for words, named in (("", "missing"), ("blow linux1 4", "'blow'"), ("tax", "missing"),
                             ("tax 101", "'101'"), ("tax -1", "'-1'"), ("tax 1 2", "'2'"),
                             ("balloon linux1", "NAME PAGES"), ("balloon linux1 4x", "'4x'"),
                             ("balloon a;b 4", "'a;b'"), ("shares linux1 0", "'0'"),
                             ("scan-rate fast", "'fast'"), ("list all", "'all'"),
                             (f"balloon {'x' * 32} 1", "not a guest's name")):
            with self.subTest(words=words), self.assertRaisesRegex(UsageError, named) as caught:
                control.check_words(words.split())
            self.assertNotIn("\n", str(caught.exception))

    def test_options_become_settings(self) -> None:
        args = run.parser().parse_args(["--tax", "50", "--scan-rate", "1000", "--mem-period", "0",
                                        "--set", "mem.swap=0"])
        settings = run.settings(args)
        self.assertEqual(settings, {"mem.tax": "50", "share.rate": "1000", "mem.record_ms": "0",
                                    "mem.swap": "0"})
        made = make_plan(expand(["mini,min=1M,shares=7", "mini"], 1), self.write("m", elf()),
                         settings)
        lines = made.config.splitlines()
        self.assertEqual(lines[0], "set mem.tax 50")
        self.assertTrue(lines[4].endswith(" min=1M shares=7"), lines[4])
        self.assertNotIn("shares", lines[5])

    def test_bad_options(self) -> None:
        for words, named in ((["--tax", "101"], "'101'"), (["--scan-rate", "x"], "'x'"),
                             (["--set", "a b=c"], "'a b=c'"), (["--set", "x"], "'x'"),
                             (["--set", "mem.tax=1\n2"], "mem.tax")):
            with self.subTest(words=words), self.assertRaisesRegex(UsageError, named):
                run.settings(run.parser().parse_args(words))
        for spec, named in (("mini,min=9M", "min is more"), ("mini,min=x", "'x'"),
                            ("mini,shares=0", "'0'"), ("mini,min=4097", "4K")):
            with self.subTest(spec=spec), self.assertRaisesRegex(UsageError, named):
                expand([spec], 1)


class Control(FileCase):
    """A session that runs in a thread, and clients of its control socket."""

    def setUp(self) -> None:
        super().setUp()
        patcher = mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": str(self.dir)})
        patcher.start()
        self.addCleanup(patcher.stop)
        self.outcome: Outcome | None = None
        self.samples = 0

    def start(self) -> Session:
        guests = [Guest("mini", name, mem=8 << 20) for name in ("g1", "g2")]
        session = Session(Plan(guests),
                          Options(4, 2 << 30), Limits(timeout=60), lambda *_: None)
        session.control = True
        session.on_sample = self._count
        patcher = mock.patch.object(machine, "QEMU", FAKE)
        patcher.start()
        self.addCleanup(patcher.stop)

        def body() -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                self.outcome = session.run(lambda _: ["-scenario", "memory"])
        thread = threading.Thread(target=body)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(setattr, session, "_ending", "for")
        self.addCleanup(lambda: session._limits.__setattr__("timeout", 0.001))
        deadline = time.monotonic() + 30
        while self.samples < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(self.samples, 2)
        return session

    def _count(self) -> None:
        self.samples += 1

    def ctl(self, *words: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(ctl.main(list(words)), 0)
        return out.getvalue()

    def test_commands(self) -> None:
        session = self.start()
        self.assertEqual(control.instances(), [os.getpid()])
        self.assertRegex(self.ctl("list"), r"g1 +running +1 +8\.0 +3\.9 +2\.0 +1\.0 .*80\n"
                         r"g2 +not started .*\nmemory high, 5\.5 of 32\.0")
        self.assertEqual(self.ctl("tax", "50"), "tax 50\n")
        self.assertEqual(json.loads(self.ctl("--json", "tax", "7")), {"ok": True, "tax": 7})
        for words, named in ((["shares", "g1", "5"], "shares g1 5: no"),
                             (["shares", "g9", "5"], "no guest is called 'g9'"),
                             (["create", "g9", "g1"], "create g9 g1: no"),
                             (["balloon", "g2", "5"], "g2 is not started")):
            with self.assertRaisesRegex(XylemError, named):
                self.ctl(*words)
        with self.assertRaisesRegex(UsageError, "--run: no instance has process id 1"):
            self.ctl("--run", "1", "list")
        session._for_at = 1.0  # long ago: ends the guests
        deadline = time.monotonic() + 30
        while self.outcome is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.outcome
        self.assertEqual((self.outcome.what, self.outcome.status), ("stopped", 1))
        final = self.outcome.results.memory.final()
        assert final
        self.assertEqual(final["frames_used"], 1400)
        self.assertEqual(control.instances(), [])

    def test_clients_that_misbehave(self) -> None:
        self.start()
        path = str(control.socket_dir() / f"{os.getpid()}.sock")
        for data, named in ((b"x" * 1000, "too long"), (b"\xff\x00 1\n", "unknown command"),
                            (b"\n", "missing")):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(30)
                sock.connect(path)
                sock.sendall(data)
                self.assertIn(named, json.loads(sock.recv(65536))["error"])
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"shares g1")  # and goes away
        self.assertIn("g1", self.ctl("list"))

    def test_nothing_runs(self) -> None:
        with self.assertRaisesRegex(XylemError, "nothing is running"):
            self.ctl("list")
        (control.socket_dir() / "999999999.sock").touch()
        self.assertEqual(control.instances(), [])
        self.assertEqual(list(control.socket_dir().iterdir()), [])

    def test_a_directory_of_somebody_else_is_refused(self) -> None:
        control.socket_dir().chmod(0o777)
        with self.assertRaisesRegex(XylemError, "not a directory of your own"):
            control.instances()


if __name__ == "__main__":
    unittest.main()
