"""The place in a recipe: phases, patience and the choice of the best epoch."""

import pytest

from jetloom.config import Training, monitor_of, resolve_tasks
from jetloom.training.progress import Ended, Progress


def begin(recipe: Training) -> Progress:
    return Progress(recipe, monitor_of(recipe, resolve_tasks(None, "task")))


def row(accuracy: float = 0.5, loss: float = 1.0) -> dict[str, float]:
    return {"val_accuracy": accuracy, "val_loss": loss}


def go(progress: Progress, *accuracies: float) -> list[Ended]:
    return [progress.end_epoch(row(value)) for value in accuracies]


def test_batch_size_of_each_epoch() -> None:
    progress = begin(Training(batch_phases=[(16, 2), (32, 1), (64, 3)]))
    assert progress.epochs == 6
    sizes = []
    while not progress.finished:
        sizes.append(progress.batch_size)
        progress.end_epoch(row())
    assert sizes == [16, 16, 32, 64, 64, 64]
    plain = begin(Training(epochs=2, batch_size=7))
    assert (plain.epochs, plain.batch_size) == (2, 7)


def test_best_is_the_first_of_equals() -> None:
    progress = begin(Training(epochs=9))
    ended = go(progress, 0.5, 0.7, 0.7, 0.6)
    assert [item.best for item in ended] == [True, True, False, False]
    assert (progress.best, progress.best_epoch) == (0.7, 1)


def test_best_by_loss() -> None:
    progress = begin(Training(epochs=9, monitor="loss"))
    for accuracy, loss in ((0.9, 1.0), (0.1, 0.5), (0.95, 0.8)):
        progress.end_epoch(row(accuracy, loss))
    assert progress.best_epoch == 1


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_the_training(patience: int) -> None:
    progress = begin(Training(epochs=50, patience=patience))
    go(progress, 0.5)
    for _ in range(patience):
        assert not progress.finished
        go(progress, 0.4)
    assert progress.finished
    assert len(progress.history) == 1 + patience
    assert progress.epoch == 50


def test_patience_leaves_one_phase_and_begins_anew_in_the_next() -> None:
    progress = begin(Training(batch_phases=[(16, 10), (32, 10)], patience=2))
    assert [item.phase_over for item in go(progress, 0.9, 0.8, 0.8)] == [False, False, True]
    assert (progress.epoch, progress.batch_size, progress.waited) == (10, 32, 0)
    ended = go(progress, 0.1, 0.2, 0.3, 0.3)
    # Better than anything in this phase, though not than the first phase.
    assert [item.best_of_phase for item in ended] == [True, True, True, False]
    assert not any(item.best for item in ended)
    assert not progress.finished
    # The last phase's end begins no other one.
    assert [item.phase_over for item in go(progress, 0.3)] == [False]
    assert progress.finished
    assert (progress.best, progress.best_epoch) == (0.9, 0)


def test_patience_that_ends_in_the_last_epoch_of_a_phase_skips_none() -> None:
    progress = begin(Training(batch_phases=[(16, 3), (32, 3)], patience=2))
    go(progress, 0.9, 0.8, 0.8)
    assert (progress.epoch, progress.batch_size) == (3, 32)


def test_an_epoch_starts_empty() -> None:
    progress = begin(Training(epochs=3))
    progress.position, progress.sums, progress.spent, progress.step = 7, {"totals": [1.0, 2.0, 3.0]}, 4.0, 7
    go(progress, 0.5)
    assert (progress.epoch, progress.position, progress.sums, progress.spent) == (1, 0, {}, 0.0)
    assert progress.step == 7


def test_state_goes_on_anywhere() -> None:
    recipe = Training(batch_phases=[(16, 4), (32, 4)], patience=2)
    values = [0.5, 0.6, 0.4, 0.4, 0.1, 0.3, 0.2, 0.2]
    whole = begin(recipe)
    go(whole, *values[:6])
    for cut in range(6):
        before = begin(recipe)
        go(before, *values[:cut])
        state = before.state_dict()
        assert not {"training", "monitor"} & state.keys()
        after = begin(recipe)
        after.load_state_dict(state)
        go(after, *values[cut:6])
        assert after == whole
