"""What was measured after the trainings goes into their MLflow runs."""

import json

import pytest

from jetloom.publish.track import track
from tests.publish.contents import COST, METRICS, closeness


@pytest.mark.seconds
def test_every_run_gets_its_own_figures_and_the_cost_of_its_model(tmp_path, capsys):
    """A real SQLite store: two runs of one model, one that was not tracked, one on a dead server."""
    from mlflow.tracking import MlflowClient

    from jetloom.tracking.store import prepare

    prepare(None, ["x/sim"], tmp_path, tmp_path / "store.json")
    store = json.loads((tmp_path / "store.json").read_text())
    client = MlflowClient(store["uri"])
    ids = [client.create_run(store["experiments"]["x/sim"]).info.run_id for _ in range(2)]
    tracked = [{"uri": store["uri"], "run_id": ids[0]}, None, {"uri": store["uri"], "run_id": ids[1]}]
    tracked.append({"uri": "http://127.0.0.1:9", "run_id": "dead"})
    paths = []
    for seed, mlflow in enumerate(tracked):
        paths.append(tmp_path / f"seed{seed}/metrics.json")
        paths[-1].parent.mkdir()
        content = {"run": {"dataset": "sim", "model": "salt", "seed": seed}, "split": "test", "values": METRICS}
        paths[-1].write_text(json.dumps(content | {"mlflow": mlflow}))
        paths[-1].with_name("predictions.parquet").write_bytes(b"scores")
    (tmp_path / "cost.json").write_text(json.dumps(COST))
    (tmp_path / "figures/sim").mkdir(parents=True)
    (tmp_path / "figures/sim/roc.png").write_bytes(b"picture")

    track(paths, [tmp_path / "cost.json"], tmp_path / "figures", tmp_path / "tracked.json")

    told = json.loads((tmp_path / "tracked.json").read_text())
    assert told["sent"] == {"sim/salt/seed0": ids[0], "sim/salt/seed2": ids[1]}
    assert list(told["not_sent"]) == ["sim/salt/seed3"]
    assert capsys.readouterr().err.count("127.0.0.1") >= 1
    for run_id in ids:
        metrics = client.get_run(run_id).data.metrics
        assert metrics["test/accuracy"] == 0.7
        assert metrics["cost/flops"] == 40
        names = {item.path for item in client.list_artifacts(run_id)}
        assert names == {"metrics.json", "predictions.parquet", "cost.json", "figures"}
        assert [item.path for item in client.list_artifacts(run_id, "figures")] == ["figures/roc.png"]


def test_a_labelled_arm_a_set_of_a_training_and_a_start(store, tmp_path):
    """Two seeds; the second starts from the first, and a data set was made by the first."""
    from mlflow.tracking import MlflowClient

    known = json.loads(store.read_text())
    uri, client = known["uri"], MlflowClient(known["uri"])
    tags = [{"jetloom.key": "first", "dataset": "sim"}, {"jetloom.key": "second", "dataset": "sim"}]
    ids = [client.create_run(known["experiments"]["exp/toy"], tags=item).info.run_id for item in tags]
    paths, start = [], {}
    for seed, run_id in enumerate(ids):
        run = {"dataset": "sim", "model": "kmeans", "seed": seed}
        tracked = {"uri": uri, "run_id": run_id, "experiment": "exp/toy", "key": tags[seed]["jetloom.key"]}
        training = {
            "run": run,
            "mlflow": tracked,
            "training": {"labelled_jets": 101} | start,
            "checkpoint_sha256": "ab",
        }
        paths.append(tmp_path / f"seed{seed}/metrics.json")
        paths[-1].parent.mkdir()
        content = {"run": run, "split": "test", "values": METRICS, "classes": ["a", "b"], "mlflow": tracked}
        paths[-1].write_text(json.dumps(content))
        made_from = {"made_from": {"starting weights": "ab"}}
        paths[-1].with_name("training.json").write_text(json.dumps(training | {"identity": made_from}))
        start = {"initial_weights": str(tmp_path / "seed0/best.ckpt")}
    of = tmp_path / "decoded/closeness.json"
    of.parent.mkdir()
    of.write_text(json.dumps(closeness("decoded", "decoded", {"dataset": "sim", "model": "kmeans", "seed": 0})))

    track(paths, [], None, tmp_path / "tracked.json", closeness=[of])

    assert json.loads((tmp_path / "tracked.json").read_text())["not_sent"] == {}
    first, second = (client.get_run(run_id).data for run_id in ids)
    assert first.metrics["labels/n"] == second.metrics["labels/n"] == 100
    assert first.metrics["reco/w1_mass"] == 3.5
    assert "reco/w1_mass" not in second.metrics
    assert [item.path for item in client.list_artifacts(ids[0], "derived/decoded")] == [
        "derived/decoded/closeness.json"
    ]
    assert second.tags["started_from"] == ids[0]
    assert "started_from" not in first.tags
