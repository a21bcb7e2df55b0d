"""Jets that are made up on the spot: no physics, but lengths, kinematics and classes that a network can learn.

Lengths are drawn from a gamma distribution of mean 40 and width 16, between 2 and 128 particles, as a stand-in for
those of JetClass, which is not at hand on a machine without a network. A jet of class c has 1 + c % 4 prongs, and its
particles carry noise in place of identification and impact parameters, shifted a little by class.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.data.prepare.manifest import SCHEMA_VERSION, Manifest
from jetloom.data.prepare.shardfile import create

FEATURES, CLASSES = 17, 10
LONGEST = 128
BUCKETS = (32, 48, 64, 128)
MEAN, SHAPE = 40.0, 6.25


def manifest(directory: Path, train: int, val: int, mean: float = MEAN) -> Path:
    """Tensors of so many jets of that mean length; those of an earlier call are taken as they are."""
    path = directory / f"made-up-{train}-{val}" / "manifest.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, {"train": train, "val": val}, mean)
    return path


def _write(path: Path, sizes: dict[str, int], mean: float) -> None:
    generator = np.random.default_rng(1)
    splits = {}
    classes = [f"class_{number}" for number in range(CLASSES)]
    for split, jets in sizes.items():
        length = np.clip(generator.gamma(SHAPE, mean / SHAPE, jets), 2, LONGEST).astype(np.int16)
        bucket = np.searchsorted(BUCKETS, length)
        parts = {width: _jets(length[bucket == at], width, generator) for at, width in enumerate(BUCKETS)}
        flat = {f"{width:03d}/{name}": value for width, part in parts.items() for name, value in part.items()}
        file = path.with_name(f"{split}.safetensors")
        with create(file, {name: (x.dtype.type, x.shape) for name, x in flat.items()}, {}) as (arrays, _):
            for name, value in flat.items():
                arrays[name][...] = value
        labels = np.concatenate([part["label"] for part in parts.values()])
        splits[split] = {
            "jets": jets,
            "per_class": {name: int((labels == number).sum()) for number, name in enumerate(classes)},
            "per_bucket": {str(width): len(part["label"]) for width, part in parts.items()},
            "truncated": 0,
            "shards": [{"file": file.name, "sha256": "", "jets": jets}],
        }
    features = [f"feature_{number}" for number in range(FEATURES)]
    text = Manifest.model_validate({
        "schema_version": SCHEMA_VERSION, "dataset": "made-up", "kind": "jets", "simulated": True,
        "source": "benchmarks/gpu/made_up.py", "feature_set": "made-up", "features": features,
        "standardisation": [(name, None, None, None, None) for name in features], "classes": classes,
        "observers": ["jet_nparticles"], "max_particles": LONGEST, "buckets": list(BUCKETS), "selection": {}, "seed": 1,
        "splits": splits, "made_from": [],
    }).signed().text(indent=1)  # fmt: skip
    path.write_text(text)


def _jets(length: NDArray[np.int16], width: int, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Arrays of a bucket, the particles by falling pT."""
    jets = len(length)
    real = np.arange(width) < length[:, None]
    label = generator.integers(0, CLASSES, jets)
    pt = -np.sort(-np.exp(generator.normal(1.5, 1.2, (jets, width)).astype(np.float32)), axis=1) * real
    prong = generator.integers(0, 1 + label[:, None] % 4, (jets, width))
    centres = generator.normal(0, 0.25, (2, jets, 4)).astype(np.float32)
    offset = np.take_along_axis(centres, np.broadcast_to(prong, (2, jets, width)), 2)
    offset += generator.normal(0, 0.05, offset.shape).astype(np.float32)
    axis = generator.uniform([[-1.5], [-np.pi]], [[1.5], [np.pi]], (2, jets)).astype(np.float32)
    eta, phi = offset + axis[..., None]
    energy = pt * np.cosh(eta)
    vectors = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], -1)
    kinematic = [np.log(np.maximum(x, 1e-6)) for x in (pt, energy, pt / pt.sum(1, keepdims=True))]
    other = generator.standard_normal((jets, width, FEATURES - 5), np.float32)
    other[..., 0] += 0.1 * label[:, None]
    features = np.concatenate([np.stack([*kinematic, *offset], -1), other], -1)
    return {
        "features": (features * real[..., None]).astype(np.float32),
        "vectors": (vectors * real[..., None]).astype(np.float32),
        "coordinates": (np.stack(list(offset), -1) * real[..., None]).astype(np.float32),
        "length": length,
        "label": label,
        "observers": length[:, None].astype(np.float32),
    }
