"""SAL-T and Linformer in one kernel, in Triton's interpreter: ``python -m ...triton.look_projected_tagger FILE``."""

from tests.support import triton_interpreter  # noqa: F401  # isort: skip  (before any kernel)

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from jetloom.batch import Batch
from jetloom.models import build, fast
from jetloom.models.fast.triton import WANTED, projected_tagger
from tests.models.fast.triton import TAGGERS
from tests.models.jets import extreme_jets, random_jets, random_points, resized, with_padding

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SLOTS = 70
"""Three tiles of particles, the last of them not full."""


def jets() -> dict[str, Batch]:
    """Lengths of all kinds, one jet of one particle and one of none; rubbish in the padding."""
    batch = with_padding(random_jets(5, SLOTS, shortest=2, seed=4), 1e3)
    batch.mask[1, 1:] = False
    batch.mask[2] = False
    holes = batch._replace(mask=batch.mask & (torch.rand(batch.mask.shape, generator=torch.Generator()) < 0.7))
    shapes = {"jets": batch, "holes": holes, "longer": resized(batch, SLOTS + 30), "three": _features(batch, 3)}
    return shapes | {"points": random_points(2, SLOTS)} | extreme_jets()


def _features(batch: Batch, number: int) -> Batch:
    return batch._replace(features=batch.features[..., :number])


def off(name: str, options: dict[str, Any], batch: Batch, precision: str = "32", sharpness: float = 1.0) -> float:
    """Largest difference from the formula in double precision, relative to the largest logit.

    ``sharpness`` is a factor of the scores before the softmax.
    """
    torch.manual_seed(1)
    network = build(name, n_features=batch.features.shape[2], n_classes=5, max_particles=SLOTS, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network.blocks[0].attention.query.weight.mul_(sharpness)
    if precision in HALVES:
        batch = batch._replace(features=batch.features.to(HALVES[precision]))
    with torch.no_grad():
        mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast")
        watched = patch.object(projected_tagger, "logits", wraps=projected_tagger.logits)
        with mixed, patch.dict(os.environ, {WANTED: "1"}), watched as asked:
            found = network.forward(batch)
        expected_type = {"32": torch.float32, "autocast": torch.bfloat16, **HALVES}[precision]
        assert asked.called and found.dtype == expected_type
        with fast.off():
            expected = copy.deepcopy(network).double()(batch._replace(features=batch.features.double()))
    return float((found.double() - expected).abs().max() / expected.abs().max())


def main(output: Path) -> None:
    torch.set_num_threads(1)
    of_kind, both = jets(), ("salt", "linformer")
    found = {f"{name}, {kind}": off(name, {}, batch) for name in both for kind, batch in of_kind.items()}
    found |= {
        f"{name}, {what}": off(name, options, of_kind["holes" if options.get("sort") == "none" else "jets"])
        for name, what, options in TAGGERS
    }
    found |= {
        f"{name}, {precision}": off(name, {}, of_kind["jets"], precision)
        for name in both
        for precision in (*HALVES, "autocast")
    }
    found |= {f"{name}, sharp": off(name, {}, of_kind["jets"], sharpness=100.0) for name in both}
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
