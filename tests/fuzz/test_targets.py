"""A look at every target, the same each time; `make fuzz` goes on for a million inputs."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.all_targets import all_targets
from tests.fuzz.target import Target

INPUTS = 60
TARGETS = all_targets()


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_an_input_or_says_why_not(name: str) -> None:
    target = TARGETS[name]
    taken = [target.check(seed) for seed in target.seeds]
    assert any(taken)
    dice = random.Random(name)
    for _ in range(INPUTS):
        data = mutated(target, dice)
        try:
            target.check(data)
        except BaseException as error:
            error.add_note(f"{name}: {data!r}")
            raise


def mutated(target: Target, dice: random.Random) -> bytes:
    """A seed in which a few bits, pieces and words are other."""
    data = bytearray(dice.choice(target.seeds))
    for _ in range(dice.randint(1, 4)):
        at, size = dice.randrange(len(data) + 1), dice.randint(1, 40)
        match dice.randrange(5):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = dice.choice(target.words or (b"\0",))
            case 3:
                start = dice.randrange(len(data) + 1)
                data[at:at] = data[start : start + size]
            case _:
                data[at : at + size] = dice.choice(target.words or (b"\xff",))
    return bytes(data)
