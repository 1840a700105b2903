# SPDX-License-Identifier: MIT
"""
bench scale: what so many cores would give, from the cost of an operation on one core and the lines
it moves between cores.

An operation of t seconds on one core that moves lines costs t plus the time of the moves. A line
that all cores write is a server: it is at one core at a time, and whoever wants it next queues. The
cores are customers of a closed network: they think for t and the moves of lines that few want, then
visit each contended line. Exact mean-value analysis (Reiser and Lavenberg, JACM 1980) gives the
throughput; for many cores it tends to 1 / (the largest service demand of one line). Memory bandwidth
is one more server.

Assumptions:
- Caches are private and do not run out of room: on one core an operation costs what it was measured
  to cost on this machine, by CPU time, whatever the others do.
- A move costs transfer_ns, whichever line. Defaults: near_ns between cores of a socket, far_ns
  between sockets, and partners are drawn evenly. Published measurements of current two-socket
  servers give about 40 to 60 ns and 100 to 150 ns; on one socket all cost near_ns.
- A line's moves are counted with the cores taking turns, operation by operation, and one waits for
  each; a processor overlaps moves that do not depend on each other, so that much moving is judged
  too hard. A line is a server for
  as many cores as were seen to move it; if these are fewer than half of all, they only wait for it.
- A lock is held for the whole operation and one move.
- Turbo, hyper-threads, interrupts and the guests' own work are left out.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """The machine that is imagined."""

    near_ns: float = 50.0
    far_ns: float = 120.0
    socket_cores: int = 32
    memory_gb_s: float = 200.0  # of a socket: 8 channels of DDR4-3200

    def transfer_ns(self, cores: int) -> float:
        """The mean time of a line's move between two of so many cores."""
        if cores <= self.socket_cores:
            return self.near_ns
        near = (self.socket_cores - 1) / (cores - 1)
        return near * self.near_ns + (1 - near) * self.far_ns

    def bytes_per_ns(self, cores: int) -> float:
        """Of all sockets in use."""
        return self.memory_gb_s * -(-cores // self.socket_cores)

    def json(self) -> dict[str, Any]:
        """The parameters."""
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """An operation, as measured."""

    one_core_ns: float
    transfers: float = 0.0           # lines moved per operation
    hot: tuple[tuple[float, int], ...] = ()  # of single lines: moves per operation, by how many cores
    locked: bool = False
    memory_bytes: float = 0.0        # read from or written to memory, past the caches


def mean_values(cores: int, think: float, demands: list[float]) -> float:
    """Operations per unit of time of a closed network of 'cores' customers."""
    queues = [0.0] * len(demands)
    rate = 0.0
    for customers in range(1, cores + 1):
        waits = [demand * (1 + queue) for demand, queue in zip(demands, queues)]
        rate = customers / (think + sum(waits))
        queues = [rate * wait for wait in waits]
    return rate


def throughput(cost: Cost, cores: int, machine: Machine) -> float:
    """Operations per ns of all cores together."""
    move = machine.transfer_ns(cores)
    think, demands = cost.one_core_ns, []
    if cores > 1:
        rest = cost.transfers
        for moves, users in cost.hot:
            if users * 2 >= cores and users > 1:
                demands.append(moves * move)
                rest -= moves
        think += max(0.0, rest) * move
        if cost.locked:
            # The lock's line moves once at least, and what it protects is done by one at a time.
            demands = [max(sum(demands), move) + think]
            think = 0.0
    if cost.memory_bytes:
        demands.append(cost.memory_bytes / machine.bytes_per_ns(cores))
        think = max(0.0, think - demands[-1])
    return mean_values(cores, think, demands)


def efficiency(cost: Cost, cores: int, machine: Machine) -> float:
    """Throughput per core, against that of one."""
    return throughput(cost, cores, machine) / cores / throughput(cost, 1, machine)
