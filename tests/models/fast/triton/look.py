"""All that is looked at in Triton's interpreter, in one process: ``python -m tests.models.fast.triton.look FILE``."""

from tests.support import triton_interpreter  # noqa: F401  # isort: skip  (before any kernel)

import json
import sys
from pathlib import Path
from typing import Any

import torch

from jetloom.models.layers import norm
from tests.models.fast.triton import attention_halves, attentions, feed_forwards, networks, pair_embeddings, pair_layers


def main(output: Path) -> None:
    torch.set_num_threads(1)
    # Kernels of a CPU, where these run.
    norm.kernel.serves = lambda *_: False
    found: dict[str, Any] = {}
    for part in (attentions, attention_halves, pair_layers, pair_embeddings, feed_forwards, networks):
        found |= part.looked()
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
