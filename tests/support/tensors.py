"""A small learnable data set, written straight as tensors."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from jetloom.data.prepare.manifest import SCHEMA_VERSION, Manifest

CLASSES = ["QCD", "Hbb", "Tbl"]
BUCKETS = (8, 16)


def _bucket(
    jets: int, width: int, separation: float, hardness: float, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    length = generator.integers(width // 2 + 1, width + 1, jets)
    real = (np.arange(width) < length[:, None])[..., None]
    label = generator.integers(0, len(CLASSES), jets)
    features = generator.normal(size=(jets, width, 7))
    features[..., 0] += separation * label[:, None]
    momentum = generator.normal(10, 3, (jets, width, 3)) * (1 + hardness * label[:, None, None])
    energy = np.linalg.norm(momentum, axis=-1, keepdims=True) + 0.1
    return {
        "features": (features * real).astype(np.float32),
        "vectors": (np.concatenate([momentum, energy], axis=-1) * real).astype(np.float32),
        "coordinates": (generator.normal(0, 0.2, (jets, width, 2)) * real).astype(np.float32),
        "length": length.astype(np.int16),
        "label": label.astype(np.int64),
        "observers": length[:, None].astype(np.float32),
    }


def write_codes(directory: Path, codes: int, train: int = 600, val: int = 150) -> Path:
    """The same jets as codes: the cell in which the first feature of each particle lies; returns the manifest."""
    described = Manifest.read(write_tensors(directory, train, val, separation=2.0))
    for split in described.splits:
        arrays = load_file(directory / f"{split}.safetensors")
        for width in BUCKETS:
            first = arrays[f"{width:03d}/features"][..., :1]
            cell = np.clip((first + 3) / 10 * codes, 0, codes - 1).astype(np.int16)
            arrays |= {f"{width:03d}/features": cell, f"{width:03d}/coordinates": np.empty((*cell.shape[:2], 0), "f4")}
            del arrays[f"{width:03d}/vectors"]
        save_file(arrays, directory / f"{split}.safetensors")
    changes = {"kind": "tokens", "feature_set": "codes", "features": ["part_code"], "codes": codes}
    changes |= {"standardisation": [("part_code", None, None, None, None)], "derived": "tokenised"}
    path = directory / "manifest.json"
    path.write_text(described.model_copy(update=changes).signed().model_dump_json())
    return path


def write_tensors(
    directory: Path, train: int = 600, val: int = 150, separation: float = 0.3, hardness: float = 0.0
) -> Path:
    """Tensors of jets whose class shows in the mean of one feature, and in the momenta; returns the manifest."""
    generator = np.random.default_rng(7)
    directory.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, jets in {"train": train, "val": val}.items():
        parts = {f"{width:03d}": _bucket(jets // 2, width, separation, hardness, generator) for width in BUCKETS}
        flat = {f"{width}/{key}": array for width, part in parts.items() for key, array in part.items()}
        save_file(flat, directory / f"{split}.safetensors")
        labels = np.concatenate([part["label"] for part in parts.values()])
        splits[split] = {
            "jets": jets,
            "per_class": {name: int((labels == index).sum()) for index, name in enumerate(CLASSES)},
            "per_bucket": {str(width): jets // 2 for width in BUCKETS},
            "truncated": 0,
            "shards": [{"file": f"{split}.safetensors", "sha256": "0" * 64, "jets": jets}],
        }
    features = [f"feature_{index}" for index in range(7)]
    manifest = Manifest.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "dataset": "toy",
            "kind": "jets",
            "simulated": True,
            "source": "jetclass",
            "feature_set": "kin",
            "features": features,
            "standardisation": [(name, None, None, None, None) for name in features],
            "classes": CLASSES,
            "observers": ["jet_nparticles"],
            "max_particles": BUCKETS[-1],
            "buckets": list(BUCKETS),
            "selection": {},
            "seed": 1,
            "splits": splits,
            "made_from": [],
        }
    ).signed()
    path = directory / "manifest.json"
    path.write_text(manifest.model_dump_json())
    return path
