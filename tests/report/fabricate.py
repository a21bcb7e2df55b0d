"""Results of trainings that never ran, consistent with each other: scores are drawn, everything else follows."""

import csv
import hashlib
import json
import string
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jetloom.identity.digests import Identity
from jetloom.results.inputs import Inputs
from jetloom.tasks.classification.measure import figures_of_merit
from jetloom.tasks.classification.scores import Scores

JET_CLASSES = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
SHAPES = ["bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet"]
MASSES = [0, 125, 125, 125, 125, 125, 91, 80, 173, 173]
TITLES = {
    "part": "ParT", "parmat": "ParMAT", "linformer": "Linformer", "salt": "SAL-T", "transformer": "Transformer",
    "pointnet": "PointNet",
}  # fmt: skip
SKILL = {"part": 3.3, "parmat": 3.1, "linformer": 2.7, "salt": 2.95, "transformer": 3.0, "pointnet": 2.8}
OBSERVERS = ["jet_pt", "jet_eta", "jet_mass", "jet_sdmass", "jet_nparticles"]


def fabricate(
    directory: Path,
    models: dict[str, list[str]],
    seeds: list[int],
    jets: int = 1000,
    based_on: dict[str, str] | None = None,
) -> Inputs:
    """Files as train, evaluate and cost write them, for data sets such as ``jetclass-sim`` and ``shapes-sim``.

    Args:
        directory: for the files.
        models: data sets with their models; ``salt-3`` is a variant of SAL-T, the worse the higher its number.
        seeds: trainings of each.
        jets: test jets.
        based_on: presets of the data sets that are not called like theirs.
    """
    results = Inputs([], [], [], [], [], [], [])
    for number, (dataset, names) in enumerate(models.items(), start=1):
        preset = (based_on or {}).get(dataset, dataset)
        kind = "points" if preset.startswith("shapes") else "jets"
        results.manifests.append(directory / dataset / "manifest.json")
        manifest = _manifest(preset, kind, jets, number)
        _write(results.manifests[-1], manifest)
        label, observers = _sample(kind, jets)
        for model in names:
            results.costs.append(directory / dataset / model / "cost.json")
            _write(results.costs[-1], _cost(dataset, model, manifest))
            for seed in seeds:
                home = directory / dataset / model / f"seed{seed}"
                home.mkdir(parents=True)
                _one(home, dataset, model, seed, manifest, label, observers)
                results.metrics.append(home / "metrics.json")
                results.training.append(home / "training.json")
                results.predictions.append(home / "predictions.parquet")
                results.histories.append(home / "history.csv")
                results.examples.append(home / "examples.json")
    return results


def _variant(model: str) -> tuple[str, int]:
    """Architecture and number of a variant."""
    if model in TITLES:
        return model, 0
    architecture, _, number = model.partition("-")
    return architecture, int(number or 0)


def title_of(model: str) -> str:
    """What a page calls it."""
    architecture, number = _variant(model)
    return TITLES[architecture] + (f" {number}" if number else "")


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _manifest(preset: str, kind: str, jets: int, number: int) -> dict:
    classes = JET_CLASSES if kind == "jets" else SHAPES
    features = [f"part_{index}" for index in range(17)] if kind == "jets" else ["x", "y", "z"]
    splits = {
        split: {
            "jets": number, "per_class": dict.fromkeys(classes, number // 10), "per_bucket": {"64": number},
            "truncated": 3, "shards": [{"file": f"{split}_000.safetensors", "sha256": "0" * 64, "jets": number}],
        }
        for split, number in {"train": 8 * jets, "val": jets, "test": jets}.items()
    }  # fmt: skip
    content = {
        "schema_version": 1, "dataset": preset,
        "kind": kind, "simulated": True, "source": "jetclass" if kind == "jets" else "modelnet",
        "feature_set": "full" if kind == "jets" else "xyz", "features": features,
        "standardisation": [[name, None, 1.0, None, None] for name in features],
        "classes": classes,
        "observers": OBSERVERS if kind == "jets" else [], "max_particles": 128 if kind == "jets" else 256,
        "buckets": [64, 128] if kind == "jets" else [256],
        "selection": {"jet_pt": [500.0, 1000.0], "jet_eta": [-2.0, None]} if kind == "jets" else {},
        "seed": number, "splits": splits,
        "made_from": [{"file": "ZJetsToNuNu_000.parquet", "sha256": "1" * 64}],
    }  # fmt: skip
    return content | {"digest": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def _sample(kind: str, jets: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(7)
    label = np.repeat(np.arange(10), jets // 10)
    generator.shuffle(label)
    if kind == "points":
        return label, {}
    mass = np.array(MASSES)[label] * generator.normal(1, 0.08, jets) + (label == 0) * generator.exponential(60, jets)
    return label, {
        "jet_pt": 500 + 500 * generator.beta(1, 3, jets),
        "jet_eta": generator.uniform(-2, 2, jets),
        "jet_mass": np.abs(mass) + 15,
        "jet_sdmass": np.abs(mass),
        "jet_nparticles": generator.poisson(40 + 10 * np.isin(label, [3, 4, 8])).astype(float),
    }


def _one(home: Path, dataset: str, model: str, seed: int, manifest: dict, label: np.ndarray, observers: dict) -> None:
    run = {"experiment": "demo", "dataset": dataset, "model": model, "seed": seed, "title": title_of(model)}
    architecture, number = _variant(model)
    # The jets are the same for all models, and so are some of their difficulties.
    shared = np.random.default_rng(3).normal(size=(len(label), 10))
    own = np.random.default_rng([seed, *model.encode()]).normal(size=(len(label), 10))
    logits = 0.8 * shared + 0.7 * own
    logits[np.arange(len(label)), label] += (
        SKILL[architecture] - 0.1 * number - (0.0 if manifest["kind"] == "points" else 1.3)
    )
    if manifest["kind"] == "jets":
        logits[:, [6, 7]] += 0.5 * np.isin(label, [6, 7])[:, None]
        logits[label == 9, 9] += 3
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    classes, background, points = manifest["classes"], None, {}
    if manifest["kind"] == "jets":
        background, points = "QCD", {name: {"Hqql": 0.99, "Tbl": 0.995}.get(name, 0.5) for name in classes[1:]}
    figures = figures_of_merit(
        scores, label, classes=classes, background=background, working_points=points, resamplings=100, confidence=0.68
    )
    trained = Identity({"data": manifest["digest"], "architecture": model, "seed": str(seed)})
    evaluated = Identity({"training": trained.digest, "data": manifest["digest"], "split": "test"}).record()
    tracked = {"uri": "sqlite:///results/mlflow.db", "experiment_id": "1", "run_id": f"{model}{seed}".ljust(32, "0")}
    _write(home / "metrics.json", {
        "schema_version": 1, "run": run, "split": "test", "classes": manifest["classes"],
        "background": background, **figures, "data_digest": manifest["digest"], "identity": evaluated,
        "checkpoint_sha256": hashlib.sha256(b"weights").hexdigest(),
        "mlflow": tracked, "versions": {"jetloom": "0.1.0", "torch": "2.13.0"},
    })  # fmt: skip
    _write(home / "training.json", {
        "run": run, "architecture": architecture, "preset": "tiny",
        "options": {"width": 32} | ({"mask": "published"} if (dataset, model) == ("shapes-sim", "linformer") else {}),
        "training": {"epochs": 12, "batch_size": 128, "optimizer": "adamw"}, "parameters": 25000, "epochs_done": 12,
        "best_epoch": 11, "best": 0.68, "seconds": 61.5 + 7 * seed, "device": "cpu",
        "hardware": {"cpu": "Some CPU @ 2.5 GHz", "gpu": None, "threads": 1, "memory_gb": 8.1},
        "versions": {"python": "3.11.2", "torch": "2.13.0", "lightning": "2.6.1", "jetloom": "0.1.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "data_digest": manifest["digest"], "identity": trained.record(), "mlflow": tracked, "resumed": 0,
    })  # fmt: skip
    (home / "best.ckpt").write_bytes(b"weights")
    _history(home / "history.csv", seed, SKILL[architecture])
    _write(home / "examples.json", {"run": run, "split": "test", "data_digest": manifest["digest"],
                                    "identity": evaluated, **_examples(architecture, manifest)})  # fmt: skip
    facts = {"run": run, "split": "test", "classes": manifest["classes"], "data_digest": manifest["digest"]}
    facts["identity"] = evaluated
    predicted(home / "predictions.parquet", scores, label, observers, manifest["classes"], facts)


def predicted(
    path: Path,
    scores: np.ndarray,
    label: np.ndarray,
    observers: dict[str, np.ndarray] | None = None,
    classes: list[str] | None = None,
    facts: dict | None = None,
) -> Scores:
    """Scores as evaluate writes them; without names of classes: a, b and so on."""
    classes = classes or list(string.ascii_lowercase[: scores.shape[1]])
    table = pa.table(
        {f"score_{name}": scores[:, index] for index, name in enumerate(classes)}
        | {"label": label.astype(np.int16)}
        | {name: values.astype(np.float32) for name, values in (observers or {}).items()}
    )
    pq.write_table(table.replace_schema_metadata({"jetloom": json.dumps(facts)}), path)
    return Scores(path)


def _examples(model: str, manifest: dict) -> dict:
    generator = np.random.default_rng(11)
    flat = manifest["kind"] == "jets"
    looks = {"part": "class token", "salt": "pooled output", "linformer": "pooled output"}.get(model)
    jets = []
    for index, name in enumerate(manifest["classes"]):
        number = 30 + index
        weight = generator.exponential(size=number)
        jets.append({
            "class": name, "row": index, "given": name,
            "coordinates": generator.normal(0, 0.2, (number, 2 if flat else 3)).tolist(),
            "pt": generator.exponential(20, number).tolist() if flat else None,
            "partition": (np.arange(number) // 10).tolist() if model == "salt" else None,
            "weight": (weight / weight.sum()).tolist() if looks else None, "pooled": None,
        })  # fmt: skip
    return {"looks": looks, "partitions": 4 if model == "salt" else None, "jets": jets}


def _history(path: Path, seed: int, skill: float) -> None:
    generator = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
        )
        for epoch in range(12):
            loss = 3.6 / skill + np.exp(-epoch / 3) + generator.normal(0, 0.02)
            writer.writerow(
                [epoch, 62 * (epoch + 1), loss - 0.05, 0.9 - loss / 5, loss, 0.88 - loss / 5, 1e-3, 5 * (epoch + 1)]
            )


def _cost(dataset: str, model: str, manifest: dict) -> dict:
    architecture, number = _variant(model)
    index = list(TITLES).index(architecture) + number / 10
    linear = architecture in ("linformer", "salt", "pointnet")

    def milliseconds(batch: int, particles: int) -> dict[str, float]:
        work = batch * particles * (1 if linear else 1 + particles / 100) / 600
        median = 1.0 + 0.2 * index + work
        return {"median": median, "low": 0.95 * median, "high": 1.1 * median}

    longest = manifest["max_particles"]
    flops = {50: round(1_200_000 * (index + 1)), longest: round(3_000_000 * (index + 2))}
    return {
        "schema_version": 1, "run": {"dataset": dataset, "model": model, "title": title_of(model)},
        "architecture": architecture, "preset": "tiny", "options": {}, "parameters": 15_000 + round(9_000 * index),
        "macs": flops[50] // 2, "flops": flops[50], "flop_counter": "FlopCounterMode", "flops_particles": 50,
        "flops_at": [{"particles": particles, "flops": value} for particles, value in flops.items()],
        "latency": [
            {"batch_size": batch, "particles": longest, "milliseconds": milliseconds(batch, longest),
             "jets_per_second": 1e3 * batch / milliseconds(batch, longest)["median"], "repetitions": 9}
            for batch in (1, 16, 128, 512)
        ],
        "length_scan": [
            {"particles": particles, "batch_size": 16, "milliseconds": milliseconds(16, particles),
             "peak_memory_mb": 0.02 * particles * (1 if linear else 1 + particles / 40)}
            for particles in (16, 32, 64, 128, 256, 512)
        ],
        "memory_method": "peak resident set (VmHWM, reset before) over the resident process", "device": "cpu",
        "hardware": {"cpu": "Some CPU @ 2.5 GHz", "cores": 2, "gpu": None, "threads": 2, "memory_gb": 8.1},
        "versions": {"jetloom": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
    }  # fmt: skip
