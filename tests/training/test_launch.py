"""The number of processes is checked before the first batch."""

import pytest

from jetloom.config import Training
from jetloom.errors import JetloomError
from jetloom.training.launch import check_launch, rank


def srun(tasks: int, nodes: int, number: int = 0) -> dict[str, str]:
    return {"SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_NUM_NODES": str(nodes), "SLURM_PROCID": str(number)}


@pytest.mark.parametrize(
    ("recipe", "environment"),
    [
        ({}, {}),
        ({}, srun(1, 1)),
        # A job's own script, with room for more.
        ({"devices": 2}, {"SLURM_NTASKS": "2"}),
        ({"devices": 2}, srun(1, 1)),
        ({"devices": 2}, srun(2, 1)),
        ({"nodes": 2}, srun(2, 2)),
        ({"devices": 2, "nodes": 2}, srun(4, 2)),
    ],
)
def test_what_fits_passes(recipe, environment, monkeypatch) -> None:
    # Whatever GPUs this machine has.
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_launch(Training(**recipe), environment)


@pytest.mark.parametrize(
    ("recipe", "environment", "words"),
    [
        ({}, srun(2, 1), ["1 x 1", "srun started 2 processes", "--ntasks-per-node=1"]),
        ({"devices": 4}, srun(2, 1), ["4 x 1", "srun started 2"]),
        ({"devices": 2, "nodes": 2}, srun(4, 1), ["2 x 2", "4 processes on 1 machines"]),
        ({"nodes": 2}, {}, ["several machines need SLURM", "--profile slurm"]),
        ({"nodes": 2}, srun(1, 1), ["several machines need SLURM"]),
        ({"compile": "graphs"}, {}, ["training.compile is graphs, and there is no GPU"]),
    ],
)
def test_what_does_not_fit_is_said(recipe, environment, words) -> None:
    with pytest.raises(JetloomError) as error:
        check_launch(Training(**recipe), environment)
    for word in words:
        assert word in str(error.value)


def test_the_rank_is_that_of_whoever_started_the_process() -> None:
    assert rank({}) == 0
    assert rank({"LOCAL_RANK": "1"}) == 1
    # With srun, Lightning starts nothing and the local rank says nothing.
    assert rank(srun(4, 2, 3) | {"LOCAL_RANK": "0"}) == 3
    # A step of one, in a job that others belong to.
    assert rank(srun(1, 1, 0) | {"LOCAL_RANK": "1"}) == 1


def test_a_training_with_too_few_processes_ends_before_its_first_batch(run_training, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("jetloom.training.module.Tagger.training_step", lambda *_: seen.append(1))
    monkeypatch.setattr("jetloom.training.launch.Count.__init__", lambda self, wanted: setattr(self, "wanted", 2))
    with pytest.raises(JetloomError, match="is 2, but 1 processes train together"):
        run_training()
    assert not seen
