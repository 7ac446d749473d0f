"""A limited run goes through its schedule by the clock, and ends in time."""

import pytest

from foldcli.training.pace import Pace


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 50), (0.25, 218)])  # the first round compiles for 5 s
def test_the_schedule_fits_the_time(seconds: float, steps: int) -> None:
    clock = Clock()
    pace, number, positions = Pace(1000, 0, 1, clock), 0, list[int]()
    while not pace.over(number):
        positions.append(pace.position(number))
        clock.now += seconds if number else 5.0
        number += 1
        pace.stepped()
    assert steps <= number <= steps + 6 and clock.now <= 160
    assert positions[0] == 0 and 950 < positions[-1] < 1000 and positions == sorted(positions)


def test_a_machine_that_needs_less_time_takes_every_step_once() -> None:
    clock = Clock()
    pace = Pace(20, 5, 10, clock)
    for number in range(5, 20):
        assert not pace.over(number) and pace.position(number) == number
        clock.now += 1
        pace.stepped()
    assert pace.over(20)


def test_without_a_limit_steps_count() -> None:
    clock = Clock()
    pace = Pace(3, 0, 0, clock)
    clock.now += 1e9
    pace.stepped()
    assert pace.position(2) == 2 and not pace.over(2) and pace.over(3)
