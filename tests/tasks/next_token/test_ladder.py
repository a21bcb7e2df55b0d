"""The ladder against dictionaries."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest

from jetloom.tasks.next_token.ladder import STRENGTH, Codes, Ladder

CODES = 6


def jets(number: int, longest: int, seed: int, slots: int = 12) -> Codes:
    rng = np.random.default_rng(seed)
    length = rng.integers(0, longest + 1, number)
    there = np.arange(slots) < length[:, None]
    # Rare codes at the end; in padded slots anything.
    code = np.minimum(rng.geometric(0.4, (number, slots)) - 1, CODES - 1)
    return np.where(there, code, -77), there


def sequences(some: Codes) -> list[list[object]]:
    """The targets of each jet: its codes, and the end."""
    return [[*row[here].tolist(), "end"] for row, here in zip(*some, strict=True)]


def by_dictionary(train: list[Codes], asked: Codes) -> dict[str, float]:
    one, place, pair = Counter({target: 1 for target in [*range(CODES), "end"]}), Counter(), Counter()
    for some in train:
        for targets in sequences(some):
            for index, target in enumerate(targets):
                one[target] += 1
                place[index, target] += 1
                pair[targets[index - 1] if index else "start", target] += 1
    total = sum(one.values())
    at, behind = Counter(), Counter()
    for (index, _), times in place.items():
        at[index] += times
    for (before, _), times in pair.items():
        behind[before] += times
    found = dict.fromkeys(("uniform", "unigram", "position", "bigram"), 0.0)
    for targets in sequences(asked):
        for index, target in enumerate(targets):
            before, known = targets[index - 1] if index else "start", one[target] / total
            guesses = {
                "uniform": 1 / (CODES + 1),
                "unigram": known,
                "position": (place[index, target] + STRENGTH * known) / (at[index] + STRENGTH),
                "bigram": (pair[before, target] + STRENGTH * known) / (behind[before] + STRENGTH),
            }
            for name, guess in guesses.items():
                found[name] -= math.log(guess)
    return found


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("longest", [8, 12])
def test_it_is_what_dictionaries_say(parts: int, longest: int) -> None:
    """Of jets that are longer than those of the training split too."""
    # Batches of several widths, and of a jet that is longer than all before.
    train = [jets(50, min(longest - 1, 4 + 3 * part), part, slots=9 + part) for part in range(parts)]
    asked = jets(200, longest, 10)
    found = Ladder(CODES, train).nats(*asked)
    assert list(found) == ["uniform", "unigram", "position", "bigram"]
    assert found == pytest.approx(by_dictionary(train, asked), rel=1e-12)


def test_the_probabilities_of_all_jets_add_up_to_one() -> None:
    rng = np.random.default_rng(3)
    train = rng.integers(0, 2, (60, 3)), np.arange(3) < rng.integers(0, 3, (60, 1))
    ladder = Ladder(2, [train])
    total = Counter()
    for length in range(10):
        for code in product((0, 1), repeat=length):
            told = ladder.nats(np.array([code], int).reshape(1, length), np.ones((1, length), bool))
            total.update({name: math.exp(-value) for name, value in told.items()})
    # What is missing are longer jets.
    assert all(0.99 < total[name] <= 1 + 1e-9 for name in ("unigram", "position", "bigram"))
    assert total["uniform"] == pytest.approx(1 - (2 / 3) ** 10)


def test_who_counts_the_code_before_knows_a_chain() -> None:
    """0, 1, ..., 5, end: certain but for what the unigram is mixed in."""
    chain = np.arange(CODES)[None].repeat(5000, 0), np.ones((5000, CODES), bool)
    found = Ladder(CODES, [chain]).nats(*chain)
    number = 5000 * (CODES + 1)
    assert found["bigram"] / number == pytest.approx(STRENGTH / 5020 * 6 / 7, rel=0.01)
    assert found["position"] / number == pytest.approx(found["bigram"] / number)
    assert found["unigram"] / number == pytest.approx(math.log(7), abs=1e-6)
    assert found["uniform"] / number == pytest.approx(math.log(7), rel=1e-12)
    turned = chain[0][:, ::-1], chain[1]
    assert Ladder(CODES, [chain]).nats(*turned)["bigram"] / number > 6


def test_of_what_was_never_seen_it_knows_how_often_tokens_occur() -> None:
    train = np.array([[2, 2, 2], [2, 5, 0]]), np.array([[True, True, True], [True, True, False]])
    ladder = Ladder(CODES, [train])
    long = np.array([[2, 2, 2, 2, 5, 0, 1]]), np.ones((1, 7), bool)
    shorter = long[0][:, :4], long[1][:, :4]
    counts = np.array([1, 1, 5, 1, 1, 2, 3]) / 14
    # Places 5, 6 and 7 were never reached; the end of the shorter one was at place 4, also behind.
    known = -np.log(counts[[5, 0, 1, 6]]).sum()
    end = -np.log(counts[6])
    for name in ("position", "unigram"):
        assert ladder.nats(*long)[name] - ladder.nats(*shorter)[name] == pytest.approx(known - end)
    # Behind code 1 nothing was seen.
    behind = np.array([[1, 3]]), np.ones((1, 2), bool)
    ahead = np.array([[1]]), np.ones((1, 1), bool)
    after_three = -np.log(counts[6])
    assert ladder.nats(*behind)["bigram"] - ladder.nats(*ahead)["bigram"] == pytest.approx(
        -np.log(counts[3]) + after_three - end
    )


def test_no_jets() -> None:
    found = Ladder(CODES, []).nats(*jets(50, 8, 1))
    assert found["unigram"] == found["position"] == found["bigram"] == pytest.approx(found["uniform"])
