"""What is looked at on the pretended GPU, in one process: ``python -m tests.gpu.look FILE`` writes it as JSON."""

from tests.support import pretended_gpu  # noqa: F401  # isort: skip  (before torch)

import json
import sys
import tempfile
from pathlib import Path

import torch

from tests.gpu import evaluation, graphs, rows, trainings


def main(output: Path) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        found = {
            "rows": rows.all_rows(),
            "trainings": trainings.all_tasks(Path(directory)),
            "recorded": trainings.all_recorded(Path(directory) / "recorded"),
            "graphs": graphs.all_choices(),
            "evaluation": evaluation.all_verbs(Path(directory)),
        }
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
