"""A training that starts from another one, and what both runs say of it."""

import json
from urllib.parse import unquote

import pytest

from jetloom.identity.digests import checksum
from jetloom.tracking.description import Description
from jetloom.tracking.run import StoredRun
from jetloom.tracking.spool import Left
from jetloom.tracking.start import Start, link, start_of
from jetloom.tracking.store import open_client, open_store

pytestmark = pytest.mark.seconds

RECIPE = {"epochs": 1, "batch_size": 200}
NOTE = "mlflow.note.content"


def run_of(output):
    told = json.loads((output / "training.json").read_text())["mlflow"]
    return open_client(told["uri"]).get_run(told["run_id"])


def test_both_runs_lead_to_each_other_and_seeds_that_start_from_seeds_share_a_parent(run_training, store):
    first, tuned = [], []
    for seed in (1, 2):
        first.append(run_training(f"first{seed}", seed=seed, store=store, **RECIPE))
        weights = str(first[-1] / "best.ckpt")
        tuned.append(
            run_training(f"tuned{seed}", seed=seed, store=store, initial_weights=weights, freeze="encoder", **RECIPE)
        )
    client = open_client(open_store(store, "exp/toy").uri)
    parents = set()
    for start, run in zip(map(run_of, first), map(run_of, tuned), strict=True):
        assert run.data.tags["started_from"] == start.info.run_id
        address = f"#/experiments/{start.info.experiment_id}/runs/{start.info.run_id}"
        assert run.data.tags[NOTE] == f"Started from [toy/small, seed {start.data.tags['seed']}]({address})."
        assert run.data.params["starts_from"] == "toy/small"
        assert run.data.params["freeze"] == "encoder"
        # The way back is a search that finds this run.
        _, search = start.data.tags[NOTE].split("runs?searchFilter=")
        [found] = client.search_runs([run.info.experiment_id], unquote(search.rstrip(")")))
        assert found.info.run_id == run.info.run_id
        assert "started_from" not in start.data.tags
        parents.add(run.data.tags["mlflow.parentRunId"])
    [parent] = map(client.get_run, parents)
    assert parent.data.params["starts_from"] == "toy/small"
    assert not {"seed", "initial_weights"} & parent.data.params.keys()


def test_weights_are_a_training_s_only_if_they_are_those_that_it_says(run_training, tmp_path):
    output = run_training(**RECIPE)
    weights = output / "best.ckpt"
    content = checksum(weights)
    assert start_of(weights, content) == Start("toy/small", 1, None, None)
    assert start_of(weights, "0" * 64) is None
    assert start_of(tmp_path / "best.ckpt", content) is None
    for damaged in ("{", "[]", "{}", json.dumps({"checkpoint_sha256": content})):
        (output / "training.json").write_text(damaged)
        assert start_of(weights, content) is None


def test_the_start_may_come_to_the_store_later(store, tmp_path):
    opened = open_store(store, "exp/toy")
    client = open_client(opened.uri)
    start = Start("toy/generator", 3, "exp/toy", "key of the start")
    told = Description(
        "exp/toy", "tuned-s1", "tuned", "0", {"seed": "1"}, {"title": "T", "dataset": "toy"}, start=start
    )
    left = Left(opened.uri, "own key", None, 1, 2, "FINISHED", told, [])
    left.write(tmp_path / "unsent.jsonl")
    # Nothing is lost on the way through a file.
    told = Left.read(tmp_path / "unsent.jsonl").description
    assert told.start == start
    run = StoredRun(client, told, "own key")
    run.open(1)
    run.describe()
    assert "started_from" not in client.get_run(run.run_id).data.tags
    other = StoredRun(client, Description("exp/toy", "g-s3", "g", "1", {}, {"title": "G"}), start.key)
    other.open(2)
    for _ in range(2):
        link(client, run.run_id, start)
    tags = client.get_run(run.run_id).data.tags
    assert tags["started_from"] == other.run_id
    assert tags[NOTE].count("Started from") == 1


def test_what_somebody_wrote_stays(store):
    client = open_client(open_store(store, "exp/toy").uri)
    runs = []
    for name in ("start", "one", "two"):
        runs.append(
            StoredRun(client, Description("exp/toy", name, name, name, {}, {"title": name, "dataset": "toy"}), name)
        )
        runs[-1].open(1)
        client.set_tag(runs[-1].run_id, NOTE, f"Mine on {name}.")
    for run in runs[1:]:
        link(client, run.run_id, Start("toy/start", 1, "exp/toy", "start"))
    notes = [client.get_run(run.run_id).data.tags[NOTE] for run in runs]
    assert all(
        note.startswith(f"Mine on {name}.\n\n") for name, note in zip(("start", "one", "two"), notes, strict=True)
    )
    assert notes[0].count("that start from it") == 1, "one search finds both"
    assert notes[1] == notes[2].replace("two", "one")


def test_a_start_that_was_not_tracked_is_not_looked_for(store):
    client = open_client(open_store(store, "exp/toy").uri)
    run = StoredRun(client, Description("exp/toy", "a", "a", "a", {}, {"title": "A"}), "a")
    run.open(1)
    for start in (Start("toy/b", 1, None, None), Start("toy/b", 1, "exp/none", "k"), Start("toy/b", 1, "exp/toy", "k")):
        link(client, run.run_id, start)
    assert not {"started_from", NOTE} & client.get_run(run.run_id).data.tags.keys()
