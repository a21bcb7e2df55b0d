"""What was measured after the trainings goes into their MLflow runs."""

import json

from jetloom.publish.track import flat_cost, flat_metrics, track

METRICS = {
    "accuracy": {"value": 0.7},
    "auc": {"value": 0.9},
    "loss": {"value": 1.1},
    "rejection": {
        "Hbb": {"efficiency": 0.5, "value": 200.0},
        "Tbl": {"efficiency": 0.995, "value": None},
    },
}
COST = {
    "run": {"dataset": "sim", "model": "salt"},
    "parameters": 10,
    "macs": 20,
    "flops": 40,
    "latency": [{"batch_size": 4, "milliseconds": {"median": 1.5}, "jets_per_second": 2666.0}],
    "length_scan": [{"particles": 16, "milliseconds": {"median": 2.5}, "peak_memory_mb": None}],
}


def test_names_say_split_working_point_and_class():
    assert flat_metrics(METRICS, "test") == {
        "test/accuracy": 0.7,
        "test/auc": 0.9,
        "test/loss": 1.1,
        "test/rej50_Hbb": 200.0,
    }
    assert flat_cost(COST) == {
        "cost/parameters": 10,
        "cost/macs": 20,
        "cost/flops": 40,
        "cost/ms_batch4": 1.5,
        "cost/jets_per_second_batch4": 2666.0,
        "cost/ms_16particles": 2.5,
    }


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
