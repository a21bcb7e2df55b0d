"""One jet at a time through ParT, as a trigger or an event display asks: PyTorch and the exported ONNX files.

    python benchmarks/one_jet.py

jetloom and weaver-core, each as trained and through the ONNX file that it writes itself, in onnxruntime. All four get
the same jets without padding.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measure import RESULTS, ROUNDS, interleaved, machine, print_table, ratio, session, write
from taggers import DEMO, WEAVER, Weaver, jets_of, ours, transposed
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.evaluation.onnx import export_onnx

NAMES = ["features", "vectors", "mask"]


def write_weavers(path: Path, n_features: int, n_classes: int) -> None:
    """With the exporter and the options of weaver-core's own command."""
    from weaver.nn.model.ParticleTransformer import ParticleTransformer

    options = WEAVER["part"] | {"num_classes": n_classes, "for_inference": True}
    model = ParticleTransformer(input_dim=n_features, **options).eval()
    example = (torch.ones(2, n_features, 128), torch.ones(2, 4, 128), torch.ones(2, 1, 128))
    torch.onnx.export(
        model, example, path, dynamo=False, opset_version=17,
        input_names=NAMES, output_names=["softmax"], dynamic_axes={name: {0: "N", 2: "particles"} for name in NAMES},
    )  # fmt: skip


def eager(model: nn.Module, jets: list[Batch]) -> Callable[[], object]:
    """One pass over all jets, one after another, in PyTorch."""

    @torch.inference_mode()
    def run() -> None:
        for jet in jets:
            model(jet)

    return run


def exported(path: Path, jets: list[dict[str, Tensor]], threads: int) -> Callable[[], object]:
    """The same through a file."""
    opened = session(path, threads)
    wanted = [item.name for item in opened.get_inputs()]
    arrays = [{name: jet[name].numpy() for name in wanted} for jet in jets]
    return lambda: [opened.run(None, array) for array in arrays]


def contenders(arguments: argparse.Namespace, directory: Path) -> dict[str, Callable[[], object]]:
    """By name, one pass over the same jets."""
    described = Manifest.read(arguments.data)
    sizes = (len(described.features), len(described.classes))
    jets = [cut(jet) for jet in jets_of(arguments.data, 1, arguments.jets, static=False)]
    turned = [transposed(jet) for jet in jets]
    torch.manual_seed(0)
    model, peer = (make("part", *sizes, compiled=False).eval() for make in (ours, Weaver))
    export_onnx(model, directory / "jetloom.onnx", n_features=sizes[0], kind="jets", longest=described.max_particles)
    write_weavers(directory / "weaver.onnx", *sizes)
    numbers = [jet._replace(mask=jet.mask.float())._asdict() for jet in turned]
    return {
        "weaver-core": eager(peer, turned),
        "jetloom": eager(model, jets),
        "weaver-core, exported": exported(directory / "weaver.onnx", numbers, arguments.threads),
        "jetloom, exported": exported(directory / "jetloom.onnx", [jet._asdict() for jet in jets], arguments.threads),
    }


def cut(jet: Batch) -> Batch:
    """Without padding."""
    particles = int(jet.mask.sum())
    return jet.map_slots(lambda x: x[:, :particles])


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEMO, help="manifest.json of the demo's jets")
    parser.add_argument("--jets", type=int, default=64, help="in one round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        timings = interleaved(contenders(arguments, Path(directory)), rounds=arguments.rounds)
    rows, found = [], {}
    for name, timing in timings.items():
        gain = ratio(timings["weaver-core"], timing)
        exported = ratio(timings["weaver-core, exported"], timing)
        found[name] = {"seconds": timing._asdict(), "over_weaver": gain, "over_weaver_exported": exported}
        rows.append({
            "one jet through ParT": name, "ms": 1e3 * timing.median / arguments.jets,
            "lowest": 1e3 * timing.low / arguments.jets, "highest": 1e3 * timing.high / arguments.jets,
            "x weaver": gain["median"], "x weaver, exported": exported["median"],
        })  # fmt: skip
    print_table(rows)
    settings = {"jets": arguments.jets, "rounds": arguments.rounds, "threads": arguments.threads}
    print(write("one_jet", {"settings": settings, "machine": machine()} | {"contenders": found}, arguments.output))


if __name__ == "__main__":
    main()
