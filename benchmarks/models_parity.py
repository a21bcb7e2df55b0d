"""Print how far our logits are from those of each architecture's authors, on the same weights and jets.

    python benchmarks/models_parity.py [--weaver-0.4 DIRECTORY]

DIRECTORY holds weaver-core 0.4.17 (`pip install --no-deps --target DIRECTORY weaver-core==0.4.17`); without it the
script installs it into a temporary one. The installed weaver-core (0.5.3) is the other peer.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.models.jets import random_jets, tower_jets
from tests.models.test_part import ask_part, own_names
from tests.models.test_particlenet import RULES, ask_particlenet

from jetloom.batch import Batch
from jetloom.models import build

JETS, PARTICLES = 8, 40


def cases(old: Path) -> Iterator[tuple[str, str, str, Batch, dict, dict]]:
    """Model, peer, inputs and weights, jets, options of our model, answer of the peer."""
    for version, directory in (("0.4.17", old), ("0.5.3", None)):
        order, rule = {"channel_order": f"weaver{version[:3]}"}, {"knn": RULES[version[:3]]}
        for features, steps in ((17, 0), (17, 10), (13, 0), (7, 0)):
            batch = random_jets(JETS, PARTICLES, n_features=features, seed=steps)
            note = f"{features} features, " + (f"{steps} training steps" if steps else "random weights")
            weights = {"steps": steps, "noise": 0.0 if steps else 0.02}
            yield "part", version, note, batch, order, ask_part(directory, batch, **weights)
            yield "part_plain", version, note, batch, order, ask_part(directory, batch, False, **weights)
            for name in ("particlenet", "particlenet_lite"):
                yield name, version, note, batch, rule, ask_particlenet(directory, name, batch, **weights)
        batch = tower_jets(3 * JETS, PARTICLES)
        note = "7 features, 10 training steps, towers"
        yield "part", version, note, batch, order, ask_part(directory, batch, steps=10)
        for name in ("particlenet", "particlenet_lite"):
            answer = ask_particlenet(directory, name, batch, steps=10)
            yield name, version, note, batch, rule, answer
            yield name, version, f"{note}, `knn: exact`", batch, {"knn": "exact"}, answer


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weaver-0.4", dest="old", type=Path, help="directory with weaver-core 0.4.17")
    old = parser.parse_args().old
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        if old is None:
            old = Path(temporary)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", temporary]
            subprocess.run([*command, "weaver-core==0.4.17"], check=True)
        print(f"| model | peer | weights | largest difference | mean absolute logit |\n|{'---|' * 5}")
        for name, version, note, batch, options, answer in cases(old):
            model = build(name, n_features=batch.features.shape[-1], n_classes=10, **options)
            model.load_state_dict(own_names(answer["state"]))
            with torch.no_grad():
                difference = (model.eval()(batch) - answer["logits"]).abs().max().item()
            scale = answer["logits"].abs().mean().item()
            print(f"| {name} | weaver-core {version} | {note} | {difference:.1e} | {scale:.2f} |", flush=True)


if __name__ == "__main__":
    main()
