"""The champion predicts what was evaluated, whichever way it is kept."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from jetloom.config import Evaluation
from jetloom.data.read.loader import Loader
from jetloom.evaluation.evaluate import evaluate
from jetloom.publish.track import track
from jetloom.tracking.store import open_client

LOAD = """
import json, sys
import mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/toy-small@champion")
arrays = dict(numpy.load(sys.argv[2]))
wanted = [item.name for item in model.metadata.signature.inputs]
scores = [model.predict({name: arrays[f"{batch}_{name}"] for name in wanted})["scores"] for batch in range(int(sys.argv[4]))]
numpy.save(sys.argv[3], numpy.concatenate(scores))
print(json.dumps([wanted, sorted(name for name in ("torch", "jetloom") if name in sys.modules)]))
"""  # noqa: E501


@pytest.fixture
def evaluated(run_training, manifest, store):
    """Two seeds, trained and evaluated, in a store of their own."""
    metrics = []
    for seed in (1, 2):
        output = run_training(f"seed{seed}", seed=seed, store=store, epochs=2)
        evaluate(
            output / "best.ckpt", manifest, output, split="val",
            settings=Evaluation(bootstrap=5), background=None, working_points={},
            training=output / "training.json", threads=1,
        )  # fmt: skip
        metrics.append(output / "metrics.json")
        # The small data set has no test split; to MLflow the name makes the difference.
        metrics[-1].write_text(metrics[-1].read_text().replace('"split": "val"', '"split": "test"'))
    return metrics


@pytest.mark.slow
@pytest.mark.parametrize("onnx", [True, False], ids=["onnx", "checkpoint"])
def test_the_champion_predicts_the_same_scores(evaluated, manifest, tmp_path, onnx) -> None:
    """Loaded by name in another process, which needs no PyTorch for ONNX."""
    track(evaluated, [], None, tmp_path / "tracked.json", onnx=onnx)
    told = json.loads((tmp_path / "tracked.json").read_text())
    facts = [json.loads(path.with_name("training.json").read_text()) for path in evaluated]
    best = max(range(2), key=lambda seed: facts[seed]["best"])
    assert told["not_sent"] == {}
    assert told["registered"] == {
        "toy-small": {"version": "1", "run_id": facts[best]["mlflow"]["run_id"], "champion": True}
    }
    client = open_client(facts[0]["mlflow"]["uri"])
    assert client.get_model_version_by_alias("toy-small", "champion").run_id == facts[best]["mlflow"]["run_id"]

    batches = list(Loader(manifest, "val", batch_size=64, shuffle=False))
    arrays = {
        f"{index}_{name}": value.numpy()
        for index, batch in enumerate(batches)
        for name, value in batch._asdict().items()
        if value is not None
    }
    np.savez(tmp_path / "batches.npz", **arrays)
    arguments = [facts[0]["mlflow"]["uri"], tmp_path / "batches.npz", tmp_path / "scores.npy", len(batches)]
    command = [sys.executable, "-c", LOAD, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted, loaded = json.loads(done.stdout.splitlines()[-1])
    assert {"features", "mask"} <= set(wanted)
    assert loaded == ([] if onnx else ["jetloom", "torch"])
    table = pq.read_table(evaluated[best].with_name("predictions.parquet"))
    expected = np.stack([table[name] for name in table.column_names if name.startswith("score_")], axis=1)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, atol=1e-5)


@pytest.mark.seconds
def test_a_better_champion_stays(evaluated, tmp_path) -> None:
    """Compared by the figure of the validation split, on the same data; registering again changes nothing."""
    track(evaluated, [], None, tmp_path / "tracked.json", onnx=False)
    track(evaluated, [], None, tmp_path / "tracked.json", onnx=False)
    told = json.loads((tmp_path / "tracked.json").read_text())
    assert told["registered"]["toy-small"]["version"] == "1"
    contents = [json.loads(path.read_text()) for path in evaluated]
    client = open_client(contents[0]["mlflow"]["uri"])
    runs = [client.get_run(content["mlflow"]["run_id"]) for content in contents]
    assert {run.data.tags["stage"] for run in runs} == {"evaluated"}
    losses = [content["values"]["loss"]["value"] for content in contents]
    assert [run.data.metrics["test/loss"] for run in runs] == losses
    parent = client.get_run(runs[0].data.tags["mlflow.parentRunId"]).data.metrics
    assert parent["seeds"] == 2
    assert parent["test/loss"] == pytest.approx(np.mean(losses))
    assert parent["test/loss_spread"] == pytest.approx(np.std(losses, ddof=1))

    first = client.get_model_version_by_alias("toy-small", "champion")

    for change, wins in ((-0.1, False), (0.1, True)):
        for path in evaluated:
            content = json.loads(path.with_name("training.json").read_text())
            fresh = client.create_run(content["mlflow"]["experiment_id"]).info.run_id
            content["best"] = float(first.tags["validation"]) + change
            path.with_name("training.json").write_text(json.dumps(content))
            metrics = json.loads(path.read_text())
            metrics["mlflow"]["run_id"] = fresh
            path.write_text(json.dumps(metrics))
        track(evaluated, [], None, tmp_path / "tracked.json", onnx=False)
        told = json.loads((tmp_path / "tracked.json").read_text())["registered"]["toy-small"]
        assert told["champion"] is wins
        champion = client.get_model_version_by_alias("toy-small", "champion")
        assert (str(champion.version) == told["version"]) is wins
