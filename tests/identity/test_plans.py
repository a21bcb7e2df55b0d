"""Random sequences of edits, calls and kills of the real workflow, with verbs that take milliseconds.

Whatever has happened, a call ends in what a fresh directory gives with the same settings and code; no verb works on
what it has worked on already; and no report shows a number that its own settings and code do not lead to.
"""

import copy
import json
import os
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.identity.project import FIRST, MODULES, EditedProject, edited_project
from tests.support.project import jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

DATA = ("per_dataset", "shapes-sim")
POINTNET = ("per_model", "pointnet", "training")
SETTINGS: dict[tuple[str, ...], list[Any]] = {
    # Of the raw files, the skims, and the tensors.
    (*DATA, "simulation", "seed"): [1, 2],
    (*DATA, "simulation", "jets", "val"): [3, 4],
    (*DATA, "selection"): [{}, {"label": [0, 1]}],
    (*DATA, "max_particles"): [16, 12],
    (*DATA, "classes"): [["chair", "table"], ["table", "chair"]],
    (*DATA, "shards"): [{}, {"train": 2}],
    (*DATA, "splits", "test"): [["{chair,table}/test"], ["{table,chair}/test"]],
    # Of trainings and evaluations.
    ("training", "epochs"): [2, 3],
    (*POINTNET, "learning_rate"): [1e-3, 2e-3],
    (*POINTNET, "workers"): [0, 1],
    ("per_model", "tuned", "starts_from"): [{"dataset": "shapes-sim", "model": "pointnet", "seed": 1}, None],
    (*DATA, "working_points"): [{}, {"chair": 0.5}],
    (*DATA, "background"): [None, "table"],
    ("evaluation", "bootstrap"): [4, 5],
    # Of what is shown.
    ("cost", "seconds"): [0.02, 0.03],
    (*DATA, "title"): ["Furniture", "Chairs and tables"],
    ("per_model", "salt", "title"): ["SAL-T", "Ours"],
    ("report", "title"): ["One", "Other"],
}
"""Settings that are edited, and their values; each belongs to something else that must be made again, or to nothing."""

CHOICES = [(path, index) for path, values in SETTINGS.items() for index in range(len(values))]
EDITS = st.lists(
    st.one_of(st.sampled_from(CHOICES), st.tuples(st.sampled_from(sorted(MODULES)), st.integers(0, 2))),
    min_size=1, max_size=2,
)  # fmt: skip
VERBS = ("simulate", "skim", "list", "shard", "manifest", "train", "evaluate", "cost", "report", "track")
KILLS = st.fixed_dictionaries(
    {
        "verb": st.sampled_from(VERBS),
        "count": st.integers(1, 2),
        "moment": st.sampled_from(["begin", "middle", "end"]),
        "driver": st.booleans(),
    }
)
PARTS = st.sampled_from(["data", "train", "cost", "skims"])


def put(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a key of nested sections."""
    for key in path[:-1]:
        config = config.setdefault(key, {})
    config[path[-1]] = value


def pad(config: dict[str, Any]) -> None:
    """One bucket, as wide as the longest cloud."""
    data = config["per_dataset"]["shapes-sim"]
    data["buckets"] = [data["max_particles"]]


class Workflow(RuleBasedStateMachine):
    """One directory, and what was done in it."""

    project: EditedProject

    @initialize()
    def nothing_there(self) -> None:
        self.project.clear()
        self.config, self.versions = copy.deepcopy(FIRST), dict.fromkeys(MODULES, 0)
        self.read: dict[tuple[str, str], str] = {}
        self.ended = False

    @rule(edits=EDITS)
    def edit_and_call(self, edits: list[tuple[Any, int]]) -> None:
        """A whole call after some edits; the next one finds nothing to do."""
        self.edit(edits)
        self.call_to_the_end(self.config)
        status, said = self.call(self.config, "--dry-run")
        assert status == 0 and not jobs(said), said

    @rule(edits=EDITS, kill=KILLS)
    def edit_and_be_killed(self, edits: list[tuple[Any, int]], kill: dict[str, Any]) -> None:
        """A verb dies, alone or with the driver; if it has nothing to do, the call goes to its end."""
        self.edit(edits)
        kill_at(self.project, kill)
        self.ended = self.call(self.config)[0] == 0
        (self.project.path / "kill.json").unlink(missing_ok=True)

    @rule(edits=EDITS, part=PARTS)
    def edit_and_make_a_part(self, edits: list[tuple[Any, int]], part: str) -> None:
        """A call for less than everything, such as the list of the skims alone."""
        self.edit(edits)
        status, said = self.call(self.config, self.list_of_skims() if part == "skims" else part)
        assert status == 0, said
        self.ended = False

    @rule(edits=EDITS)
    def run_a_second_experiment(self, edits: list[tuple[Any, int]]) -> None:
        """Other settings on the same data directory; the first experiment stays as it is."""
        second = copy.deepcopy(self.config) | {"experiment": "second"}
        for key, value in edits:
            if key in SETTINGS:
                put(second, key, SETTINGS[key][value])
        pad(second)
        self.call_to_the_end(second)
        if self.ended:
            status, said = self.call(self.config, "--dry-run")
            assert status == 0 and not jobs(said), said

    def teardown(self) -> None:
        if hasattr(self, "config"):
            self.call_to_the_end(self.config)

    def edit(self, edits: list[tuple[Any, int]]) -> None:
        """Change settings and code."""
        for key, value in edits:
            if key in SETTINGS:
                put(self.config, key, SETTINGS[key][value])
            else:
                self.versions[key] = value
                self.project.edit(key, value)
        self.config["per_dataset"]["shapes-sim"]["buckets"] = [
            self.config["per_dataset"]["shapes-sim"]["max_particles"]
        ]
        self.ended = False

    def list_of_skims(self) -> str:
        """The file of the training split, or of all data if they are there."""
        _, said = self.call(self.config, "--dry-run", "data")
        found = re.search(r"output: (\S+/skims/train.json)", said)
        return found[1] if found else "data"

    def call_to_the_end(self, config: dict[str, Any]) -> None:
        """A call that nothing disturbs: the report shows what a fresh directory gives."""
        status, said = self.call(config)
        assert status == 0, said
        assert shown(self.project.page(config["experiment"])) == self.project.reference(config, self.versions)
        if config is self.config:
            self.ended = True

    def call(self, config: dict[str, Any], *arguments: str) -> tuple[int, str]:
        """Any call; what must hold after each."""
        status, said = self.project.call(config, *arguments)
        for event, verb, output, made_from in self.project.work():
            if event == "begin":
                # If it dies, it has to work again.
                before = self.read.pop((verb, output), None)
                assert before != made_from, f"{verb} made {output} from the same again\n{said}"
            else:
                self.read[verb, output] = made_from
        for experiment in ("first", "second"):
            page = self.project.page(experiment)
            if page is not None:
                claimed = yaml.safe_load(page["config"])
                assert shown(page) == self.project.reference(claimed, page["versions"]), "a report says what is not so"
        return status, said


def shown(page: dict[str, Any]) -> dict[str, Any]:
    """What a page says that settings and code decide."""
    return {key: page[key] for key in ("title", "results", "costs")}


def kill_at(project: EditedProject, kill: dict[str, Any]) -> None:
    """Let a verb of the next call die."""
    (project.path / "kill.json").write_text(json.dumps(kill))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory):
    made = edited_project(tmp_path_factory.mktemp("plans") / "clone", "tests.identity.stand_ins")
    yield made
    made.close()


def test_whatever_happens_a_call_ends_like_a_fresh_directory(project: EditedProject) -> None:
    """Thirty sequences, always the same; JETLOOM_SURVIVE asks for so many others (make survive)."""
    long = os.environ.get("JETLOOM_SURVIVE")
    chosen = settings(
        max_examples=int(long or 30), stateful_step_count=4, derandomize=not long, deadline=None, database=None,
        print_blob=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    Workflow.project = project
    run_state_machine_as_test(Workflow, settings=chosen)


def test_one_call_makes_what_is_added_to_an_experiment(project: EditedProject) -> None:
    """A second data set, another store of MLflow: nothing that changes keeps the call from the rest of its work."""
    project.clear()
    config = copy.deepcopy(FIRST)
    assert project.call(config)[0] == 0
    before = project.page("first")["results"]
    config["datasets"] = ["shapes-sim", "second"]
    config["per_dataset"]["second"] = config["per_dataset"]["shapes-sim"] | {"based_on": "shapes-sim"}
    status, said = project.call(config)
    assert status == 0, said
    both = project.page("first")["results"]
    assert {key for key in both if key not in before} == {key.replace("shapes-sim", "second") for key in before}
    status, said = project.call(config, "--dry-run")
    assert status == 0 and not jobs(said), said
    put(config, ("tracking", "offline"), True)
    put(config, ("training", "epochs"), 3)
    status, said = project.call(config)
    assert status == 0, said
    after = project.page("first")["results"]
    assert after.keys() == both.keys() and all(after[key] != both[key] for key in both)
    store = json.loads((project.path / "results/first/store.json").read_text())
    assert store["offline"] and set(store["experiments"]) == {"first/shapes-sim", "first/second"}
