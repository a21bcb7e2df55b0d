"""Edits, calls and kills with real trainings: what is measured is, to the last bit, that of a fresh directory."""

import copy
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.identity.project import FIRST, EditedProject, edited_project
from tests.support.project import jobs
from tests.support.warm_project import REAL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

LONG = os.environ.get("JETLOOM_SURVIVE")
CHOSEN = settings(
    max_examples=max(1, int(LONG or 10) // 10), derandomize=not LONG, deadline=None, database=None, print_blob=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
RUN = "shapes-sim/pointnet/seed1"
MEASURED = {"identity", "checkpoint_sha256", "mlflow", "gpu_use", "versions", "run"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditedProject]:
    made = edited_project(tmp_path_factory.mktemp("real") / "clone", REAL)
    yield made
    made.close()


class Place:
    """An experiment with directories of its own."""

    numbers = iter(range(10_000))

    def __init__(self, project: EditedProject, **changes: Any) -> None:
        self.project, self.number = project, next(self.numbers)
        self.config = copy.deepcopy(FIRST) | {
            "experiment": f"experiment{self.number}",
            **{f"{name}_directory": f"place{self.number}/{name}" for name in ("data", "results", "scratch")},
            "models": ["pointnet"], "per_model": {}, "training": {"epochs": 3, "batch_size": 4},
            "tracking": {"offline": True, "onnx": False}, **changes,
        }  # fmt: skip

    @property
    def data(self) -> dict[str, Any]:
        """Settings of the data set."""
        return self.config["per_dataset"]["shapes-sim"]

    @property
    def results(self) -> str:
        """Directory of the results."""
        return f"{self.config['results_directory']}/{self.config['experiment']}"

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the training."""
        return json.loads((self.project.path / self.results / RUN / name).read_text())

    def call(self, *arguments: str) -> str:
        """Run the workflow to its end."""
        status, said = self.project.call(self.config, *arguments)
        assert status == 0, said
        return said

    def metrics(self) -> dict[str, Any]:
        """Figures of the evaluation, after a call for them."""
        self.call(f"{self.results}/{RUN}/metrics.json")
        return {key: value for key, value in self.read("metrics.json").items() if key not in MEASURED}

    def fresh(self) -> "Place":
        """The same settings where nothing has run."""
        other = Place(self.project)
        for key in self.config.keys() - {"experiment", "data_directory", "results_directory", "scratch_directory"}:
            other.config[key] = copy.deepcopy(self.config[key])
        return other


def set_seed(data: dict[str, Any]) -> None:
    data["simulation"]["seed"] = 2


def set_points(data: dict[str, Any]) -> None:
    data["max_particles"], data["buckets"] = 12, [12]


def set_jets(data: dict[str, Any]) -> None:
    data["simulation"]["jets"]["train"] = 7


@CHOSEN
@given(seed=st.integers(2, 1000), wait=st.floats(0, 0.5))
def test_a_training_that_is_killed_goes_on_with_its_own_data_alone(
    project: EditedProject, seed: int, wait: float
) -> None:
    """Other data while it is down: they start at the first epoch; back to the old ones: they go on."""
    place = Place(project, training={"epochs": 60, "batch_size": 4})
    killed_while(
        place, wait, lambda: bool(list((project.path / place.config["scratch_directory"]).glob("*/last.ckpt")))
    )
    assert not (project.path / place.results / RUN / "best.ckpt").exists()

    place.data["simulation"]["seed"] = seed
    assert place.metrics() == place.fresh().metrics()
    assert place.read("training.json")["resumed"] == 0
    assert place.read("training.json")["epochs_done"] == 60

    place.data["simulation"]["seed"] = 1
    assert place.metrics() == place.fresh().metrics()
    assert place.read("training.json")["resumed"] == 1


@CHOSEN
@given(change=st.sampled_from([set_seed, set_points, set_jets]), split=st.sampled_from(["train", "val", "test"]))
def test_a_call_that_ends_after_the_list_of_skims_leaves_no_old_tensors(
    project: EditedProject, change: Callable[[dict[str, Any]], None], split: str
) -> None:
    place = Place(project)
    before = place.metrics()
    change(place.data)
    said = place.call("--dry-run", "data")
    lists = [word.strip(",") for word in said.split() if word.strip(",").endswith(f"skims/{split}.json")]
    place.call(lists[0])
    after, fresh = place.metrics(), place.fresh()
    assert after == fresh.metrics()
    assert after["data_digest"] != before["data_digest"]


@CHOSEN
@given(points=st.integers(8, 15))
def test_a_second_experiment_on_the_same_data_directory_leaves_the_first_as_it_is(
    project: EditedProject, points: int
) -> None:
    first = Place(project)
    first.call()
    second = Place(project, data_directory=first.config["data_directory"])
    second.data["max_particles"], second.data["buckets"] = points, [points]
    measured = second.metrics()
    assert measured == second.fresh().metrics()
    assert not jobs(first.call("--dry-run"))
    status, said = project.jetloom("verify", first.results, "--data")
    assert status == 0, said


def killed_while(place: Place, wait: float, begun: Callable[[], bool]) -> None:
    """Start a call and kill all its processes some seconds after something has begun."""
    calling = threading.Thread(target=place.project.call, args=(place.config, f"{place.results}/{RUN}/best.ckpt"))
    calling.start()
    while not begun():
        assert calling.is_alive(), place.project.output.read_text()
        time.sleep(0.01)
    time.sleep(wait)
    place.project.kill()
    calling.join()
