"""Steps in runs, on the pretended GPU: what is learnt, where it ends, and how often Lightning is asked.

What runs is in ``runs.py``, in the process of the other tests here.
"""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
OPTIMISERS = ["ranger", "adam", "adamw"]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_runs_learn_bit_for_bit_what_single_steps_do(found, optimiser) -> None:
    """Clipped, decayed, frozen at first, in batches of two sizes and in such as are not full."""
    assert found["runs"][optimiser]["same"]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_lightning_is_asked_once_for_a_run(found, optimiser) -> None:
    """Where steps are ordinary ones, once for each."""
    numbers = found["runs"]["numbers"]
    assert found["runs"][optimiser]["iterations"] == [numbers["steps"], numbers["in runs"], numbers["steps"]]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_sigterm_in_a_run_lets_it_end_and_the_rest_is_the_same(found, optimiser) -> None:
    assert found["runs"][optimiser]["status"] == [143, 0]
    assert found["runs"][optimiser]["resumed"]


@pytest.mark.parametrize("other", ["ordinary", "from a CPU", "on a CPU"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_whole_steps_learn_what_others_do(found, optimiser, other) -> None:
    """Lightning's ordinary steps; a training that goes on on the other device, whose optimiser counts elsewhere."""
    result = found["runs"][optimiser]
    assert result["losses"] == pytest.approx(result["others"][other], rel=1e-4)


def test_the_tracker_gets_the_loss_of_each_step_that_it_asks_for(found) -> None:
    tracked = found["runs"]["tracked"]
    assert tracked["steps"] == list(range(2, found["runs"]["numbers"]["steps"] + 1, 2))
    assert tracked["same"]
