"""A few labelled jets: which they are, and the epochs that are made of them."""

from pathlib import Path

import numpy as np
import pytest

from jetloom.config import Training
from jetloom.data.read.loader import Loader, ShardFile, labelled_observers
from jetloom.errors import JetloomError
from tests.data.read.test_loader import CLASSES, make, numbers, write


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine shards of jets that carry their number."""
    return write(tmp_path_factory.mktemp("labelled"), [1000, 900, 1100, 1003, 997, 1, 1000, 1050, 950])


def chosen(manifest: Path, number: int, seed: int = 1, **options) -> list[int]:
    """Numbers of the jets of a pass, sorted."""
    return sorted(jet for batch in numbers(make(manifest, labelled=number, seed=seed, **options)) for jet in batch)


def labels(manifest: Path) -> dict[int, int]:
    """Class by number of the jet."""
    found = {}
    for path in sorted(manifest.parent.glob("*.safetensors")):
        for arrays in ShardFile(path).buckets.values():
            found |= dict(zip(arrays["observers"][:, 0].astype(int).tolist(), arrays["label"].tolist(), strict=True))
    return found


def test_subsets_are_nested_and_equal_per_class(many: Path) -> None:
    of, before = labels(many), set()
    for number in (5, 100, 300, 1000, 3000):
        now = chosen(many, number)
        assert len(now) == len(set(now)) == number
        assert np.bincount([of[jet] for jet in now]).tolist() == [number // CLASSES] * CLASSES
        assert before < set(now)
        before = set(now)


def test_every_seed_draws_its_own_and_draws_it_again(many: Path) -> None:
    draws = [set(chosen(many, 500, seed)) for seed in (1, 2, 3)]
    assert draws[0] == set(chosen(many, 500, 1, batch_size=7)) == set(chosen(many, 500, 1, shuffle=False))
    # By chance one in sixteen is in both.
    assert all(10 < len(one & other) < 70 for one, other in ((draws[0], draws[1]), (draws[1], draws[2])))


def test_what_is_no_multiple_is_rounded_down_per_class(many: Path) -> None:
    assert chosen(many, 104) == chosen(many, 100)


def test_more_than_a_class_has_lists_class_and_number(many: Path) -> None:
    counts = np.bincount(list(labels(many).values()))
    with pytest.raises(JetloomError, match=f"{counts.min():,}") as caught:
        make(many, labelled=5 * int(counts.max()))
    few = [f"{index} has {count:,}" for index, count in enumerate(counts) if count < counts.max()]
    assert str(caught.value).endswith(f"{counts.max():,} of each of 5 classes, but {', '.join(few)}")
    assert len(chosen(many, 5 * int(counts.max()), at_most=True)) == 8001


def test_less_than_one_of_each_class(many: Path) -> None:
    with pytest.raises(JetloomError, match=r"labelled_jets: 4 is less than one jet of each of 5 classes$"):
        make(many, labelled=4)


def test_few_jets_of_many_shards_make_batches_as_large_as_asked_for(many: Path) -> None:
    """Opened four at a time, nine shards with twenty jets each would make batches of ten."""
    sizes = [len(batch) for batch in numbers(make(many, labelled=500, batch_size=64))]
    assert sum(sizes) == 500
    assert min(sizes) > 32


def test_an_epoch_repeats_the_few_until_it_is_as_long(many: Path) -> None:
    loader = make(many, labelled=100, batch_size=10, samples_per_epoch=1000)
    batches = numbers(loader)
    assert len(batches) == 100
    counts = np.unique([jet for batch in batches for jet in batch], return_counts=True)[1]
    assert len(counts) == 100
    assert counts.max() - counts.min() <= 1


def test_ranks_share_the_same_jets(many: Path) -> None:
    parts = [
        [jet for batch in numbers(make(many, labelled=400, seed=1, rank=rank, world_size=2)) for jet in batch]
        for rank in (0, 1)
    ]
    assert not set(parts[0]) & set(parts[1])
    assert set(parts[0] + parts[1]) <= set(chosen(many, 400))
    assert len(parts[0] + parts[1]) > 390


def test_observers_of_the_labelled_jets_alone(many: Path) -> None:
    assert sorted(labelled_observers(many, "train", 300, seed=2)[:, 0].astype(int)) == chosen(many, 300, 2)


def test_all_is_no_choice_at_all(many: Path) -> None:
    assert Training(labelled_jets="all").learnt() == Training().learnt()
    assert "labelled_jets" not in Training().learnt()
    assert Training(labelled_jets=100).learnt() != Training().learnt()
    same = Loader(many, "train", batch_size=64, shuffle=True, seed=1, labelled=Training(labelled_jets="all").labelled)
    assert numbers(same) == numbers(make(many, seed=1))
