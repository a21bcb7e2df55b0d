"""Steps in runs on the pretended GPU, likewise: ``python -m tests.gpu.look_at_runs FILE``."""

from tests.support import pretended_gpu  # noqa: F401  # isort: skip  (before torch)

import json
import sys
import tempfile
from pathlib import Path

import torch

from tests.gpu import runs

if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        Path(sys.argv[1]).write_text(json.dumps(runs.all_runs(Path(directory))))
