"""L-GATr-slim and LLoCa-Transformer against their authors' packages, PHAT-JeT and JEDI-linear against plain torch.

    python benchmarks/frontier.py train lgatr_slim            # size 0, batch 128
    python benchmarks/frontier.py infer lgatr_slim            # size 0, batch 512
    python benchmarks/frontier.py train lloca_transformer
    python benchmarks/frontier.py infer lloca_transformer
    python benchmarks/frontier.py infer phat_jet              # n = 150, batch 512
    python benchmarks/frontier.py infer jedi_linear

The peers are in frontier_peer.py; the packages are installed below --peers. "jetloom" takes its batches as its loader
makes them, each from one length bucket; "same batches" takes the mixed ones that the peer gets.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from frontier_peer import Jedi, LLoCa, Phat, Slim, unpack
from jets import MANIFEST
from measure import RESULTS, ROUNDS, interleaved, machine, machine_rates, print_table, ratio, write
from taggers import CLOCKS, floor, jets_of, mixed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.models import build
from jetloom.models.fast.parts import trimmed
from jetloom.models.layers.packing import of_length

PACKAGES = {"lgatr_slim": "lgatr 2.0.0", "lloca_transformer": "lloca 2.0.0"}
PLAIN = {"phat_jet": {"preset": "jetclass"}, "jedi_linear": {}}
SIZES = {"train": 128, "infer": 512}


class Contender(NamedTuple):
    """Who runs on which batches."""

    model: nn.Module
    batches: list[Batch]


def equivariant(arguments: argparse.Namespace, features: int, classes: int, longest: int) -> dict[str, Contender]:
    """The package and ours with the same weights, on mixed batches and on those of the loader."""
    unpack(arguments.peers)
    bucketed = jets_of(arguments.data, arguments.batch, arguments.batches, static=False)
    same = [trimmed(batch) for batch in mixed(bucketed, longest)]
    torch.manual_seed(0)
    ours = build(arguments.model, n_features=features, n_classes=classes, size=0)
    peer = Slim(ours) if arguments.model == "lgatr_slim" else LLoCa(ours)
    if isinstance(peer, LLoCa):
        peer.start(same[0])
    again = build(arguments.model, n_features=features, n_classes=classes, size=0)
    again.load_state_dict(ours.state_dict())
    found = {PACKAGES[arguments.model]: Contender(peer, same), "jetloom": Contender(ours, bucketed)}
    return found | {"jetloom, same batches": Contender(again, same)}


def plain(arguments: argparse.Namespace, features: int, classes: int, longest: int) -> dict[str, Contender]:
    """The formulation, the same network, and the one that leaves padding out, on sorted jets with n slots."""
    n = arguments.particles
    some = mixed(jets_of(arguments.data, arguments.batch, arguments.batches, static=False), longest)
    jets = [of_length(batch, n, "the contest", exactly=True) for batch in some]
    options = PLAIN[arguments.model] | {"n_features": features, "n_classes": classes, "max_particles": n}
    torch.manual_seed(0)
    free = build(arguments.model, **options)
    shaken(free, jets[0])
    unsorted = {"sort": "none"} if arguments.model == "phat_jet" else {}
    same = build(arguments.model, **options, **unsorted, mask="published")
    same.load_state_dict(free.state_dict())
    if arguments.model == "phat_jet":
        # The peer's particles come in the order that ours makes.
        jets = [free.sorted(batch)[0]._replace(vectors=batch.vectors) for batch in jets]
        peers = {"plain torch": Phat(same)}
    else:
        peers = {"plain torch": Jedi(same)}
    models = peers | {"jetloom, same network": same, "jetloom": free}
    return {name: Contender(model, jets) for name, model in models.items()}


def shaken(model: nn.Module, batch: Batch) -> None:
    """Running statistics that are not those of the start."""
    model.train()
    with torch.no_grad():
        model(batch)
    model.eval()


def differences(contenders: dict[str, Contender], first: str) -> dict[str, float]:
    """Largest difference of the logits from those of the peer on its own batch, where the network is the same."""
    batch = contenders[first].batches[0]
    with torch.no_grad():
        logits = {name: one.model.eval()(batch) for name, one in contenders.items() if one.batches[0] is batch}
    return {name: (value - logits[first]).abs().max().item() for name, value in logits.items() if name != first}


def contest(arguments: argparse.Namespace) -> dict[str, Any]:
    """Jets per second of all contenders."""
    described = Manifest.read(arguments.data)
    sizes = (len(described.features), len(described.classes), described.max_particles)
    contenders = (equivariant if arguments.model in PACKAGES else plain)(arguments, *sizes)
    first, training = next(iter(contenders)), arguments.what == "train"
    different = differences(contenders, first)
    works: dict[str, Callable[[], None]] = {}
    for name, (model, batches) in contenders.items():
        works[name] = train(model, batches) if training else infer(model, batches)
    clock = CLOCKS[arguments.clock]
    timings = interleaved(works, rounds=arguments.rounds, clock=clock)
    lengths = torch.cat([batch.mask.sum(1) for batch in contenders[first].batches])
    jets = len(lengths)
    rates = machine_rates(clock=clock)
    bound = floor(contenders["jetloom"].model, sizes[0], lengths, arguments.batches, rates, training)
    found, rows = {}, []
    for name, timing in timings.items():
        gain = ratio(timings[first], timing)
        rate = jets / timing.median
        found[name] = {"jets_per_second": rate, "lowest": jets / timing.high, "highest": jets / timing.low,
                       "seconds": timing.rounds, "over_peer": gain}  # fmt: skip
        rows.append({
            f"{arguments.what} {arguments.model}, batch {arguments.batch}": name, "jets/s": rate,
            "lowest": found[name]["lowest"], "highest": found[name]["highest"], "x peer": gain["median"],
            "from": gain["low"], "to": gain["high"], "share of floor": rate / bound["jets_per_second"],
        })  # fmt: skip
    print_table(rows)
    print("largest differences of logits:", ", ".join(f"{name} {value:.1e}" for name, value in different.items()))
    mean = float(lengths.float().mean())
    return {"contenders": found, "floor": bound, "mean_length": mean, "largest_differences": different}


def train(model: nn.Module, batches: list[Batch]) -> Callable[[], None]:
    """Steps of AdamW, one for each batch."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 2.5e-4)

    def work() -> None:
        model.train()
        for batch in batches:
            optimiser.zero_grad()
            loss: Tensor = cross_entropy(model(batch), batch.label)
            loss.backward()
            optimiser.step()

    return work


def infer(model: nn.Module, batches: list[Batch]) -> Callable[[], None]:
    """Logits of all batches."""

    def work() -> None:
        model.eval()
        with torch.inference_mode():
            for batch in batches:
                model(batch)

    return work


def main() -> None:
    """Run what was asked for, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(SIZES))
    parser.add_argument("model", choices=[*PACKAGES, *PLAIN])
    parser.add_argument("--data", type=Path, default=MANIFEST, help="manifest.json of the demo's jets")
    parser.add_argument("--peers", type=Path, default=Path(".cache/peers"), help="where the packages are installed")
    parser.add_argument("--batch", type=int, help="default: 128 in training, 512 in inference")
    parser.add_argument("--batches", type=int, default=4, help="in one round")
    parser.add_argument("--particles", type=int, default=150, help="n of those against plain torch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for busy machines, one thread")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    arguments = parser.parse_args()
    arguments.batch = arguments.batch or SIZES[arguments.what]
    torch.set_num_threads(arguments.threads)
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("data", "output", "peers")}
    begin = time.perf_counter()
    result = contest(arguments)
    described = {"settings": settings, "machine": machine(), "took_seconds": time.perf_counter() - begin}
    print(write(f"{arguments.model}_{arguments.what}_{arguments.batch}_cpu", described | result, arguments.output))


if __name__ == "__main__":
    main()
