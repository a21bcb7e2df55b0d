"""A small prepared data set, written straight as tensors."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jetloom.data.prepare.manifest import SCHEMA_VERSION, Manifest

CLASSES = ["QCD", "Hbb", "Tbl"]
OBSERVERS = ["jet_pt", "jet_sdmass", "jet_nparticles"]


def arrays(jets: int, width: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Jets of one bucket; the first feature tells the class."""
    length = generator.integers(width // 2, width + 1, jets)
    real = np.arange(width) < length[:, None]
    label = np.arange(jets) % len(CLASSES)
    features = generator.normal(size=(jets, width, 7))
    features[..., 0] += label[:, None]
    momentum = generator.normal(10, 3, (jets, width, 3))
    energy = np.linalg.norm(momentum, axis=-1, keepdims=True) + 0.1
    observers = np.stack([generator.uniform(500, 1000, jets), generator.uniform(0, 200, jets), length], axis=1)
    return {
        "features": (features * real[..., None]).astype(np.float32),
        "vectors": (np.concatenate([momentum, energy], axis=-1) * real[..., None]).astype(np.float32),
        "coordinates": (generator.normal(0, 0.2, (jets, width, 2)) * real[..., None]).astype(np.float32),
        "length": length.astype(np.int16),
        "label": label.astype(np.int64),
        "observers": observers.astype(np.float32),
    }


def write_tensors(directory: Path, jets: int = 60) -> Path:
    """Tensors with a test and a train split in buckets of 16 and 32 particles; returns the manifest."""
    generator = np.random.default_rng(0)
    splits = {}
    for split in ("train", "test"):
        buckets = {f"{width:03d}": arrays(jets // 2, width, generator) for width in (16, 32)}
        flat = {f"{name}/{key}": array for name, part in buckets.items() for key, array in part.items()}
        save_file(flat, directory / f"{split}_000.safetensors")
        splits[split] = {
            "jets": jets, "per_class": dict.fromkeys(CLASSES, jets // 3),
            "per_bucket": {"16": jets // 2, "32": jets // 2},
            "truncated": 0, "shards": [{"file": f"{split}_000.safetensors", "sha256": "0" * 64, "jets": jets}],
        }  # fmt: skip
    features = [f"feature_{index}" for index in range(7)]
    manifest = Manifest.model_validate({
        "schema_version": SCHEMA_VERSION, "dataset": "toy", "kind": "jets", "simulated": True,
        "source": "jetclass", "feature_set": "kin", "features": features,
        "standardisation": [(name, None, None, None, None) for name in features], "classes": CLASSES,
        "observers": OBSERVERS, "max_particles": 32,
        "buckets": [16, 32], "selection": {}, "seed": 1, "splits": splits, "made_from": [],
    }).signed()  # fmt: skip
    path = directory / "manifest.json"
    path.write_text(manifest.model_dump_json())
    return path


def together(batches: Iterable[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """Scores, labels and observers of all batches of ``score``."""
    return [np.concatenate(part) for part in zip(*batches, strict=True)]
