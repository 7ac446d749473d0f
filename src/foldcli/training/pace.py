"""How far a run is into its schedule: by steps, or by the clock where its time is limited."""

import time
from collections.abc import Callable

SECONDS_A_MINUTE = 60
# Rounds at the beginning that say nothing of how long one takes: kernels are compiled in them.
SLOW = 2


class Pace:
    """Places a run in its schedule of `steps`; minutes: of the clock, in which it must end, 0 for as many as it takes.

    A limited run goes through what is left of the schedule in the time there is, however fast the machine.
    """

    def __init__(self, steps: int, first: int, minutes: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.first, self.limit, self.clock = steps, first, minutes * SECONDS_A_MINUTE, clock
        self.start = self.before = clock()
        self.rounds = list[float]()

    def position(self, number: int) -> int:
        """The step of the schedule that step `number` of the run is, both from 0."""
        if not self.limit:
            return number
        share = (self.clock() - self.start) / self.limit
        return min(self.steps - 1, max(number, self.first + int(share * (self.steps - self.first))))

    def stepped(self) -> None:
        """Note that a round is over: a step with all that was due after it."""
        now = self.clock()
        self.rounds.append(now - self.before)
        self.before = now

    def over(self, number: int) -> bool:
        """Whether no step is left, or no time for a round as long as the longest."""
        left = self.limit - (self.clock() - self.start)
        return number >= self.steps or (bool(self.limit) and left <= max(self.rounds[SLOW:], default=0.0))
