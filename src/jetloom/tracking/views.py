"""What an experiment shows first: its kind, its views of the runs, and a description that leads to them.

MLflow keeps a view as a tag of the experiment; the menu *Views* above the runs lists them.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

NOTE = "mlflow.note.content"
"""MLflow's own name for the description of a run or an experiment, which is Markdown."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's name for experiments of trainings."""
SIDE = "workflowType=machine_learning"
"""Of its pages; whoever has not chosen *Model training* there gets those of language models without it."""
VIEW = "mlflow.sharedViewState."
"""How the tag of a view begins."""
FIGURES = ("test/accuracy", "test/accuracy_spread", "test/auc", "test/auc_spread", "test/resolution",
           "test/resolution_spread", "tokens/perplexity", "reco/mass_half68", "generated/nats_per_jet")  # fmt: skip
"""Of all tasks; those that an experiment has none of take no column."""
COSTS = ("cost/parameters", "cost/flops", "cost/busy_points")


class View(NamedTuple):
    """A table of runs."""

    key: str
    name: str
    level: str
    """``model`` or ``seed``: which runs."""
    columns: Sequence[str]

    @property
    def filter(self) -> str:
        """In the words of MLflow's search."""
        return f"tags.`jetloom.level` = '{self.level}'"

    def state(self) -> dict[str, Any]:
        """As MLflow's page keeps it."""
        return {
            "searchFilter": self.filter,
            "orderByKey": ACCURACY,
            "orderByAsc": False,
            "selectedColumns": list(self.columns),
        }


def _named(group: str, names: Sequence[str]) -> list[str]:
    return [f"{group}.`{name}`" for name in names]


ACCURACY = f"metrics.`{FIGURES[0]}`"
ORIGIN = ("git.commit", "git.dirty", "data.manifest_sha", "config.sha")
RECIPE = ("architecture", "preset", "features", "epochs", "batch_size", "optimizer", "learning_rate", "labelled_jets",
          "starts_from")  # fmt: skip
VIEWS = (
    View("best", "Which model is best?", "model", _named("metrics", FIGURES)),
    View("seeds", "Do the seeds agree?", "seed", ["params.`seed`", *_named("metrics", ["val/accuracy", *FIGURES])]),
    View("costs", "What do they cost?", "model", [ACCURACY, *_named("metrics", COSTS)]),
    View("recipes", "How were they trained?", "model", [ACCURACY, *_named("params", RECIPE)]),
    View("origin", "Which code and data?", "seed", [ACCURACY, *_named("tags", ORIGIN)]),
)


def introduce(client: Any, experiment: str, name: str, known: Mapping[str, str]) -> None:
    """Say what an experiment is and where to look; what somebody has changed since stays.

    Args:
        client: of MLflow.
        experiment: id.
        name: ``<experiment>/<data set>``.
        known: its tags.

    Raises:
        Exception: whatever MLflow, its driver or the network raise.
    """
    told = known.get(NOTE, "")
    wanted = KIND | {f"{VIEW}{view.key}": _kept(view) for view in VIEWS}
    if told in ("", _sentence(name)):
        wanted[NOTE] = _description(experiment, name)
    for key, value in wanted.items():
        if key == NOTE or key not in known:
            client.set_experiment_tag(experiment, key, value)


def _kept(view: View) -> str:
    return json.dumps({"name": view.name, "createdAt": int(1000 * time.time()), "state": json.dumps(view.state())})


def _description(experiment: str, name: str) -> str:
    """Links first: the page shows one line until it is opened."""
    runs = f"#/experiments/{experiment}/runs?{SIDE}"
    # By time of creation MLflow would show the parents of the seeds.
    order = f"orderByKey={quote(ACCURACY, safe='')}&orderByAsc=false"
    curves = f"{runs}&compareRunsMode=CHART&searchFilter={quote(VIEWS[1].filter)}&{order}"
    links = [f"[{view.name}]({runs}&viewStateShareKey={view.key})" for view in VIEWS]
    links += [
        f"[Did the trainings converge?]({curves})",
        f"[Trained models](#/models?{SIDE}&searchQuery={quote(name.partition('/')[2])})",
    ]
    return " · ".join(links) + f"\n\n{_sentence(name)}"


def _sentence(name: str) -> str:
    campaign, _, dataset = name.partition("/")
    return f"Trainings of the experiment {campaign} on {dataset}: a run for each model, below it one for each seed."
