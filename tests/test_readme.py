"""The README's worked example, carried out, and its list of taggers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jetloom.catalogue import cards

ROOT = Path(__file__).parents[1]


def test_every_row_of_the_registry_is_in_the_table_of_taggers():
    table = (ROOT / "README.md").read_text().partition("## Taggers")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert set(re.findall(r"`([a-z0-9_]+)`", "\n".join(rows[1:]))) == set(cards.names("models"))


@pytest.mark.seconds
def test_the_model_of_the_readme_can_be_added(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    examples = re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert len(examples) == 2
    for name, text in examples:
        (tmp_path / name).write_text(text)

    code = """
import json, torch
from jetloom.config import parse_experiment
from jetloom.models import build
from jetloom.batch import Batch
experiment = parse_experiment(
    {"experiment": "x", "datasets": ["shapes-sim"], "models": ["deepset"], "seeds": [1], "preset": "tiny"}
)
model = build("deepset", n_features=3, n_classes=10, preset="tiny").eval()
points = torch.randn(4, 50, 3)
mask = torch.arange(50) < torch.tensor([[50], [1], [20], [35]])
first = model(Batch(points, None, points, mask))
points = torch.where(mask[..., None], points, torch.nan)
second = model(Batch(points, None, points, mask))
epochs = experiment.training_of("shapes-sim", "deepset").epochs
parameters = sum(parameter.numel() for parameter in model.parameters())
print(json.dumps([list(first.shape), torch.allclose(first, second), epochs, parameters]))
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # 3*64+64 and 64*64+64 in the particle network, 64*10+10 in the jet network.
    assert json.loads(done.stdout) == [[4, 10], True, 10, 256 + 4160 + 650]
