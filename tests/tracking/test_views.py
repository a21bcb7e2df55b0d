"""What an experiment shows first."""

import json

from jetloom.tracking.store import experiment_id, open_client, open_store

NOTE, BEST = "mlflow.note.content", "mlflow.sharedViewState.best"


def test_an_experiment_says_what_it_is_and_where_to_look(store):
    opened = open_store(store, "exp/toy")
    tags = open_client(opened.uri).get_experiment(opened.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags[BEST])
    state = json.loads(view["state"])
    assert view["name"] == "Which model is best?"
    assert state["searchFilter"] == "tags.`jetloom.level` = 'model'"
    assert {f"metrics.`test/{name}`" for name in ("accuracy", "accuracy_spread", "auc", "auc_spread")} <= set(
        state["selectedColumns"]
    )
    first, _, rest = tags[NOTE].partition("\n")
    for key in (name.rpartition(".")[2] for name in tags if name.startswith("mlflow.sharedViewState.")):
        assert (
            f"#/experiments/{opened.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={key})" in first
        )
    assert "exp on toy" in rest


def test_what_somebody_changed_stays_and_an_older_one_learns(store):
    opened = open_store(store, "exp/toy")
    client = open_client(opened.uri)
    for key, value in {NOTE: "Ours.", BEST: "{}"}.items():
        client.set_experiment_tag(opened.experiment_id, key, value)
    assert experiment_id(client, "exp/toy") == opened.experiment_id
    assert client.get_experiment(opened.experiment_id).tags[NOTE] == "Ours."
    assert client.get_experiment(opened.experiment_id).tags[BEST] == "{}"
    older = "Trainings of the experiment old on toy: a run for each model, below it one for each seed."
    made = client.create_experiment("old/toy", tags={NOTE: older})
    assert experiment_id(client, "old/toy") == made
    tags = client.get_experiment(made).tags
    assert BEST in tags
    assert tags[NOTE].endswith(older) and "Which model is best?" in tags[NOTE]
