"""The schedule of one rank, and its replay on a network.

A schedule holds, in program order, what the rank computes, the collectives that it starts and the places where it waits
for their results. `record.py` measures one on this machine, `roofline.py` estimates one for a GPU's data sheet.
"""

from dataclasses import dataclass, field

from foldcli.bench.simulate.network import Network


@dataclass(frozen=True)
class Message:
    """A collective when it starts: the bytes that this rank sends, and to how many peers."""

    kind: str
    peers: int
    sent: int


@dataclass(frozen=True)
class Wait:
    """Where the result of a collective is needed; message: its index among the schedule's events."""

    message: int


@dataclass
class Schedule:
    """Seconds of computation, collectives and waits in program order.

    flops: counted by the roofline, 0 where times were measured; peak: bytes of memory beside parameters and inputs.
    """

    events: list[float | Message | Wait] = field(default_factory=list)
    flops: float = 0.0
    peak: int = 0


@dataclass(frozen=True)
class Replay:
    """Seconds of a schedule on a network: in total, of communication, and of exposed communication."""

    total: float
    communication: float
    exposed: float


def replay(schedule: Schedule, network: Network, ranks: int) -> Replay:
    """Replay a schedule on a network, which carries one collective of a rank after another.

    All ranks run the same schedule, so that peers start a collective at the same time.
    """
    now = free = communication = exposed = 0.0
    arrivals: dict[int, float] = {}
    for index, event in enumerate(schedule.events):
        if isinstance(event, Message):
            seconds = network.message(event.peers, event.sent, ranks)
            arrivals[index] = free = max(now, free) + seconds
            communication += seconds
        elif isinstance(event, Wait):
            waited = max(0.0, arrivals[event.message] - now)
            now, exposed = now + waited, exposed + waited
        else:
            now += event
    return Replay(now, communication, exposed)
