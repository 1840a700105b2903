#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Plays a hypervisor to the launcher: connects to the serial ports' sockets that
the command line names and does what the scenario (its last word) says.
"""

import re
import socket
import sys
import time

BOOT = '{"ev":"boot","pcpus":4,"t_ns":250000000}'
START = '{"ev":"start","guest":"g1","domid":1,"t_ns":500000000}'
UP = "[    1.500000] g1| xylem-userspace 0.9"


def end(state: str, reason: str = "") -> str:
    """A guest's last record."""
    return ('{"ev":"end","guest":"g1","domid":1,"state":"%s","reason":"%s","vcpus":1,'
            '"mem_kib":8192,"start_ns":500000000,"end_ns":2000000000,"cpu_ns":700000000,'
            '"events":3,"hypercalls":4}' % (state, reason))


def sample(seq: int, seconds: float, given: int, used: int) -> list[str]:
    """A memory sample in two records, as the hypervisor sends a large one."""
    head = '{"ev":"mem","seq":%d,"t_ns":%d' % (seq, seconds * 1e9)
    return [head + ',"dom":[["g1",%d,1500,1000,512,256,128,64,32,40,2048,32,80,200,9,300,100]]}' % given,
            head + ',"total":{"frames":8192,"free":%d,"used":%d,"state":"high","tax":75,'
            '"given":%d,"touched":1500,"shared":256,"shared_frames":10,"saved":245,"swapped":64,'
            '"ballooned":32,"scanned":%d}}' % (8192 - used, used, given, seq * 1000)]


def main() -> int:
    """The scenario; the exit status is QEMU's."""
    paths = re.findall(r"path=(\S+)", " ".join(sys.argv))
    scenario = sys.argv[sys.argv.index("-scenario") + 1]
    if scenario == "nostart":
        print("qemu: no such machine", file=sys.stderr)
        return 1
    ports = []
    for path in paths:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        ports.append(sock)

    def say(port: int, text: str) -> None:
        ports[port].sendall(text.encode() + b"\r\n")

    say(1, BOOT)
    say(1, START)
    say(0, "[    0.600000] xylem| online 4 pcpus")
    ports[0].sendall(UP[:20].encode())  # a line may come in pieces
    time.sleep(0.05)
    ports[0].sendall(UP[20:].encode() + b"\r\n")
    if scenario in ("off", "crashed"):
        say(1, end(scenario, "" if scenario == "off" else "triple fault"))
        return 0x21 if scenario == "off" else 0x23
    if scenario == "panic":
        say(0, "[    2.000000] xylem| panic on CPU 1")
        return 0x25
    if scenario == "reset":
        return 0
    if scenario == "hang":
        time.sleep(60)
        return 0
    if scenario in ("obey", "one-crashed"):  # runs until told to quit
        if scenario == "one-crashed":
            say(1, end("crashed", "triple fault"))
        received = b""
        while b"q\n" not in received:
            received += ports[1].recv(100)
        if scenario == "obey":
            say(1, end("killed", "ended by request"))
        return 0x23
    if scenario == "memory":  # two samples, then commands until told to quit
        for line in [*sample(1, 1.0, 2048, 1200), *sample(2, 2.0, 2048, 1400)]:
            say(1, line)
        received = b""
        while True:
            received += ports[1].recv(100)
            *lines, received = received.split(b"\n")
            for words in (line.decode().split() for line in lines):
                if words == ["q"]:
                    say(1, '{"ev":"memory","t_ns":2000000000,"given_pages":2048,'
                        '"touched_pages":1500,"frames_used":1400,"shared_pages":256,'
                        '"saved_pages":245,"swapped_pages":64,"ballooned_pages":32}')
                    say(1, end("killed", "ended by request"))
                    return 0x23
                if words[2] == "tax":
                    say(1, '{"ev":"ctl","id":%s,"ok":true,"tax":%s}' % (words[1], words[3]))
                else:
                    say(1, '{"ev":"ctl","id":%s,"ok":false,"error":"%s: no"}'
                        % (words[1], " ".join(words[2:])))
    if scenario == "echo":  # a console that echoes until 'exit'
        received = b""
        while b"exit\n" not in received:
            data = ports[2].recv(100)
            received += data
            ports[2].sendall(b"<" + data + b">")
        say(1, end("off"))
        return 0x21
    raise SystemExit(f"unknown scenario {scenario}")


if __name__ == "__main__":
    sys.exit(main())
