"""The kernel of whole networks compiled for sm_90: ``python -m tests.models.fast.triton.look_sm90 FILE``."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from jetloom.models import build
from jetloom.models.fast.triton import projected_tagger
from jetloom.models.fast.triton import projected_tagger_kernels as kernels
from tests.models.jets import random_jets
from tests.support.sm90 import Compiling


def main(output: Path) -> None:
    torch.set_num_threads(1)
    kernels.logits = compiling = Compiling(kernels.logits, output.parent)
    projected_tagger.wanted = lambda x: True
    found = {}
    for name in ("salt", "linformer"):
        for n_features in (3, 17):
            network = build(name, n_features=n_features, n_classes=5).eval()
            batch = random_jets(2, 20, n_features=n_features)
            for precision, dtype, exact in (
                ("32", torch.float32, "ieee"),
                ("tf32", torch.float32, "tf32"),
                ("bf16", torch.bfloat16, "ieee"),
            ):
                with torch.no_grad(), patch.object(projected_tagger, "exactness", lambda exact=exact: exact):
                    network.forward(batch._replace(features=batch.features.to(dtype)))
                found[f"{name}, {n_features}, {precision}"] = compiling.needs
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
