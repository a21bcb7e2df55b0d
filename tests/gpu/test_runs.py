"""Steps in runs, on the pretended GPU: what is learnt, where it ends, and how often Lightning is asked.

What runs is in ``runs.py``, in a process of its own.
"""

from typing import Any

import pytest

from tests.support.look import seen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
OPTIMISERS = ["ranger", "adam", "adamw"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What :mod:`tests.gpu.look_at_runs` has seen."""
    return seen("tests.gpu.look_at_runs", tmp_path_factory.mktemp("runs"), OMP_NUM_THREADS="1")


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_runs_learn_bit_for_bit_what_single_steps_do(found, optimiser) -> None:
    """Clipped, decayed, frozen at first, in batches of two sizes and in such as are not full."""
    assert found[optimiser]["same"]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_lightning_is_asked_once_for_a_run(found, optimiser) -> None:
    """Where steps are ordinary ones, once for each."""
    numbers = found["numbers"]
    assert found[optimiser]["iterations"] == [numbers["steps"], numbers["in runs"], numbers["steps"]]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_sigterm_in_a_run_lets_it_end_and_the_rest_is_the_same(found, optimiser) -> None:
    assert found[optimiser]["status"] == [143, 0]
    assert found[optimiser]["resumed"]


@pytest.mark.parametrize("other", ["ordinary", "from a CPU", "on a CPU"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_whole_steps_learn_what_others_do(found, optimiser, other) -> None:
    """Lightning's ordinary steps; a training that goes on on the other device, whose optimiser counts elsewhere."""
    result = found[optimiser]
    assert result["losses"] == pytest.approx(result["others"][other], rel=1e-4)


def test_the_tracker_gets_the_loss_of_each_step_that_it_asks_for(found) -> None:
    tracked = found["tracked"]
    assert tracked["steps"] == list(range(2, found["numbers"]["steps"] + 1, 2))
    assert tracked["same"]
