"""Verbs that do in milliseconds what theirs do in minutes, with all their checks.

Data are made by the real code from a few meshes. Of a training and an evaluation only the network is replaced: what
would be learnt is a digest of the bytes of the tensors, the settings and the code, so that a result made from anything
else is another number. Cost, report and MLflow write such digests too. A change of code is a line ``EDIT = n`` at the
end of a module (:data:`MODULES`), which the stand-ins let change what the module does.

Each verb that really works says so in ``work.jsonl``, and dies where ``kill.json`` says.
"""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import jetloom
from jetloom import cli
from jetloom.config import Training, monitor_of, parse_experiment
from jetloom.data.prepare import skim, skimlist, tensors
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.simulate import shapes
from jetloom.data.sources import modelnet10
from jetloom.evaluation import cost, evaluate
from jetloom.identity.digests import checksum, digest
from jetloom.publish import track
from jetloom.report import build
from jetloom.report.record import provenance
from jetloom.tracking import store
from jetloom.training import checkpoint, train
from tests.identity.project import MODULES
from tests.support.warm_programs import workflow

SOURCES = Path(jetloom.__file__).parent
LEARNT = {"batch_size", "epochs", "learning_rate", "weight_decay"}
"""Settings of a recipe that count here."""
MEASURED = {"schema_version", "run", "identity", "checkpoint_sha256", "mlflow", "gpu_use", "versions"}
"""What ``metrics.json`` says besides figures."""

_working: list[tuple[str, str, str]] = []
_versions: dict[str, int] = {}
_driver: int | None = None
_quiet = False


def version(name: str) -> int:
    """Number of the edit of a module; 0 for one as it was."""
    if not _versions:
        for key, file in MODULES.items():
            found = re.search(r"^EDIT = (\d+)$", (SOURCES / file).read_text(), re.M)
            _versions[key] = int(found[1]) if found else 0
    return _versions[name]


def begin(verb: str, output: Path, *made_from: Any) -> None:
    """Say that a verb works now, on what."""
    if _quiet:
        return
    _working.append((verb, os.path.relpath(output), digest(*made_from)))
    _say("begin")
    with suppress(FileNotFoundError):
        kill = json.loads(Path("kill.json").read_text())
        if kill["verb"] == verb:
            Path("kill.json").write_text(json.dumps(kill | {"count": kill["count"] - 1}))
    moment("begin")


def moment(name: str) -> None:
    """Die here, if that was said."""
    if not _working:
        return
    with suppress(FileNotFoundError):
        kill = json.loads(Path("kill.json").read_text())
        if (kill["verb"], kill["count"], kill["moment"]) == (_working[-1][0], 0, name):
            Path("kill.json").unlink()
            if kill["driver"]:
                os.killpg(_driver, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


def _say(event: str) -> None:
    with open("work.jsonl", "a") as log:
        log.write(json.dumps([event, *_working[-1]]) + "\n")


# Data: the real code, with edits that change what it does.


def _shifted(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_mesh(*arguments: Any) -> Any:
        mesh = make(*arguments)
        return mesh._replace(vertices=mesh.vertices * (1 + 0.01 * np.arange(1, 4) * version("simulation")))

    return make_mesh


def _stretched(sample: Callable[..., Any]) -> Callable[..., Any]:
    def cloud(*arguments: Any) -> Any:
        return (sample(*arguments) * (1 - 0.01 * version("reader"))).astype(np.float32)

    return cloud


def _scaled(flatten: Callable[..., Any]) -> Callable[..., Any]:
    def scaled(*arguments: Any) -> Any:
        jets = flatten(*arguments)
        return jets._replace(features=jets.features * np.float32(1 + 0.01 * version("features")))

    return scaled


def _saying(verb: str, work: Callable[..., Any], place: int, made_from: Callable[..., Any]) -> Callable[..., Any]:
    """A function that says that it works, on what its arguments make of it; the file it writes is one of them."""

    def saying(*arguments: Any) -> Any:
        begin(verb, arguments[place], made_from(*arguments))
        return work(*arguments)

    return saying


def _read_by_a_skim(dataset: Any) -> dict[str, Any]:
    return dataset.model_dump(mode="json", include={"classes", "selection", "max_particles", "seed"})


def _simulated(label: str, split: str, meshes: int, seed: int, output: Path) -> Any:
    return [label, split, meshes, seed, version("simulation")]


def _skimmed(name: str, dataset: Any, raw: Path, output: Path) -> Any:
    return [skim.content_hash(raw), _read_by_a_skim(dataset), version("reader")]


def _sharded(name: str, dataset: Any, split: str, shard: int, skims: list[Path], output: Path) -> Any:
    return [
        *(split, shard, dataset.shards.get(split, 1), dataset.feature_set),
        *(_read_by_a_skim(dataset), [checksum(path) for path in skims], version("features")),
    ]


# Trainings and evaluations: no network.


def _fit(order: Any, tracker: Any) -> Any:
    described, recipe = order.described, order.training
    files = [order.manifest.parent / item.file for name in ("train", "val") for item in described.splits[name].shards]
    weights = recipe.initial_weights and checkpoint.load(Path(recipe.initial_weights))["number"]
    code = [version("training"), version(order.model)]
    facts = [
        *([checksum(file) for file in files], order.model, order.resolved),
        *(recipe.model_dump(mode="json", include=LEARNT), order.seed, weights, code),
    ]
    # Data are one thing to a training: another test split is another manifest.
    begin("train", order.scratch.parent / "-".join(map(str, order.run.values())), facts, described.digest)
    state = train._state(order)
    trail = state["trail"] if state else []
    saved = {"schema_version": checkpoint.SCHEMA_VERSION, "identity": order.identity.record()}
    for epoch in range(len(trail), recipe.epochs):
        trail.append(digest(epoch, facts))
        checkpoint.save(saved | {"trail": trail}, order.scratch / "last.ckpt")
        moment("middle")
    about = {"run": order.run, "manifest": described.model_dump(mode="json", include=train.DESCRIBED)}
    checkpoint.save(saved | about | {"number": digest(trail)}, order.scratch / "best.ckpt")
    history = [{"epoch": epoch, "step": epoch, "val_accuracy": epoch} for epoch in range(recipe.epochs)]
    progress = SimpleNamespace(
        history=history,
        monitor=monitor_of(recipe, order.tasks),
        best_epoch=1,
        best=0.5,
        seconds=1.0,
        resumed=int(state is not None),
    )
    return SimpleNamespace(progress=progress, model=torch.nn.Identity(), device_name="cpu")


def _load_model(path: Path) -> tuple[str, dict[str, Any]]:
    saved = checkpoint.load(path)
    return saved["number"], saved


def _score(number: str, task: Any, manifest: Path, split: str, batch_size: int, precision: str) -> Iterator[Any]:
    described = Manifest.read(manifest)
    shards = [checksum(manifest.parent / item.file) for item in described.splits[split].shards]
    seed = digest(number, shards, version("metric"))
    draw = np.random.default_rng(int(seed[:16], 16))
    label = np.repeat(np.arange(len(described.classes)), list(described.splits[split].per_class.values()))
    scores = draw.dirichlet([1] * len(described.classes), len(label)).astype(np.float32)
    yield scores, label.astype(np.int16), np.zeros((len(label), len(described.observers)), np.float32)


def _evaluate(checkpoint: Path, manifest: Path, output: Path, **words: Any) -> None:
    def write(path: Path, batches: Any, task: Any, described: Any, run: Any, split: str, identity: Any) -> Any:
        [batch] = batches
        said = [words["settings"].model_dump(mode="json"), words["background"], words["working_points"]]
        begin("evaluate", output, [batch[0].tolist(), batch[1].tolist()], said, described.digest)
        return predictions(path, [batch], task, described, run, split, identity)

    predictions = _real["write_predictions"]
    evaluate.write_predictions = write
    _real["evaluate"](checkpoint, manifest, output, **words)


def _examples(*_: Any) -> dict[str, Any]:
    moment("middle")
    return {}


def figures_in(metrics: dict[str, Any]) -> dict[str, Any]:
    """What a result says: all of ``metrics.json`` that depends on what it was made from."""
    return {key: value for key, value in metrics.items() if key not in MEASURED}


# What is measured and shown.


def _cost(model: str, preset: str, options: dict[str, Any], manifest: Path, output: Path, **words: Any) -> None:
    made_from = [
        *(Manifest.read(manifest).digest, model, train.chosen_options(model, preset, options)),
        *(words["settings"].model_dump(mode="json"), version(model), version("cost")),
    ]
    begin("cost", output, made_from)
    output.write_text(json.dumps({"run": words["run"], "parameters": 1, "number": digest(made_from)}))


def _report(given: Any, output: Path, processes: int) -> dict[str, Any]:
    collection = build._collect(given)
    page = {
        "config": given.config.read_text(),
        "versions": {name: version(name) for name in MODULES},
        "title": given.title,
        "results": {
            f"{entry.dataset}/{entry.model}/seed{result.seed}": figures_in(result.metrics)
            for entry, result in collection.results
        },
        "costs": {f"{entry.dataset}/{entry.model}": entry.cost["number"] for entry, _ in collection.results},
    }
    begin("report", output, page["config"], page["results"], page["costs"], version("plot"))
    for name in ("figures", "tables"):
        (output / name).mkdir(parents=True)
        (output / name / "all.txt").write_text(digest(page))
        moment("middle")
    (output / "index.html").write_text(json.dumps(page))
    return {}


def _provenance(path: Path, *_: Any) -> None:
    path.write_text("{}")


def _track(
    metrics: list[Path],
    costs: list[Path],
    figures: Path,
    output: Path,
    *,
    closeness: list[Path],
    config: Path,
    onnx: bool,
) -> None:
    results = [figures_in(json.loads(path.read_text())) for path in metrics]
    shown = (figures / "all.txt").read_text()
    read = [checksum(path) for path in (*costs, *closeness)]
    begin("track", output, results, read, shown, config.read_text(), onnx)
    output.write_text("{}")


def _prepare(uri: Any, experiments: list[str], directory: Path, output: Path, *, offline: bool) -> None:
    begin("store", output, uri, experiments, offline)
    said = {"uri": store.choose_uri(uri, directory), "offline": offline, "experiments": dict.fromkeys(experiments, "1")}
    output.write_text(json.dumps(said))


class _Tracker:
    def __init__(self, *_: Any) -> None: ...

    def close(self, *_: Any) -> None: ...

    def identity(self) -> dict[str, Any]:
        return {}


_real = {"write_predictions": evaluate.write_predictions, "evaluate": evaluate.evaluate}
for _module, _changes in (
    (shapes, {
        "make_mesh": _shifted(shapes.make_mesh),
        "simulate": _saying("simulate", shapes.simulate, 4, _simulated),
    }),
    (modelnet10, {"cloud": _stretched(modelnet10.cloud)}),
    (skim, {"skim": _saying("skim", skim.skim, 3, _skimmed)}),
    (skimlist, {"write": _saying("list", skimlist.write, 1, lambda skims, output: [checksum(path) for path in skims])}),
    (tensors, {
        "flatten": _scaled(tensors.flatten),
        "write_shard": _saying("shard", tensors.write_shard, 5, _sharded),
        "write_manifest": _saying(
            "manifest", tensors.write_manifest, 3, lambda name, dataset, shards, output: [*map(checksum, shards)]
        ),
    }),
    (train, {
        "_fit": _fit, "Tracker": _Tracker, "open_store": lambda *_: None, "describe": lambda *_, **__: None,
        "git": dict, "versions": dict, "hardware": lambda *_: {},
    }),
    (evaluate, {
        "evaluate": _evaluate, "load_model": _load_model, "score": _score, "examples": _examples, "versions": dict,
    }),
    (cost, {"cost": _cost}),
    (build, {"report": _report}),
    (provenance, {"write": _provenance}),
    (track, {"track": _track}),
    (store, {"prepare": _prepare}),
):  # fmt: skip
    for _name, _value in _changes.items():
        assert hasattr(_module, _name)
        setattr(_module, _name, _value)


def _verb(arguments: list[str], driver: int | None) -> None:
    global _driver
    _driver = driver
    try:
        cli.main(arguments)
    except SystemExit as error:
        if error.code:
            raise
    if _working:
        moment("end")
        _say("end")


def _reference(arguments: list[str], driver: int | None) -> None:
    """What the settings and the code of an experiment lead to, without the workflow and with nothing there before."""
    global _quiet
    _quiet = True
    configuration, versions, output = arguments
    _versions.update(json.loads(versions))
    experiment = parse_experiment(json.loads(configuration))
    with TemporaryDirectory() as name:
        place = Path(name)
        manifests = {name: _tensors(experiment.dataset(name), name, place) for name in experiment.datasets}
        costs, waiting = {}, list(experiment.runs)
        while waiting:
            run = waiting.pop(0)
            start = experiment.per_model[run.model].starts_from if run.model in experiment.per_model else None
            weights = start and place / "-".join(map(str, start.run(run.seed))) / "best.ckpt"
            if weights and not weights.exists():
                waiting.append(run)
                continue
            choice, data = experiment.model(run.dataset, run.model), experiment.dataset(run.dataset)
            recipe: Training = experiment.training_of(run.dataset, run.model)
            directory = place / "-".join(map(str, run))
            train.train(
                manifests[run.dataset], directory, model=choice.architecture, preset=choice.preset,
                options=choice.options,
                training=recipe.model_copy(update={"initial_weights": str(weights)}) if weights else recipe,
                seed=run.seed, run=run._asdict(), scratch=place / "scratch",
            )  # fmt: skip
            evaluate.evaluate(
                directory / "best.ckpt", manifests[run.dataset], directory, settings=experiment.evaluation,
                background=data.background, working_points=data.working_points,
            )  # fmt: skip
            _cost(*choice[:3], manifests[run.dataset], directory / "cost.json", settings=experiment.cost, run={})
            costs[f"{run.dataset}/{run.model}"] = json.loads((directory / "cost.json").read_text())["number"]
        results = {
            f"{run.dataset}/{run.model}/seed{run.seed}": figures_in(
                json.loads((place / "-".join(map(str, run)) / "metrics.json").read_text())
            )
            for run in experiment.runs
        }
    Path(output).write_text(json.dumps({"title": experiment.report.title, "results": results, "costs": costs}))


def _tensors(dataset: Any, name: str, place: Path) -> Path:
    shards = []
    for split in dataset.splits:
        skims = []
        for raw in dataset.raw_files(split):
            label = raw.partition("/")[0]
            shapes.simulate(label, split, dataset.simulation.jets[split], dataset.simulation.seed, place / raw)
            skims.append(place / f"{label}-{split}.parquet")
            skim.skim(name, dataset, place / raw, skims[-1])
        for shard in range(dataset.shards.get(split, 1)):
            shards.append(place / "tensors" / f"{split}_{shard:03d}.safetensors")
            tensors.write_shard(name, dataset, split, shard, skims, shards[-1])
    tensors.write_manifest(name, dataset, shards, place / "tensors" / "manifest.json")
    return place / "tensors" / "manifest.json"


PROGRAMS = {"jetloom": _verb, "snakemake": workflow, "reference": _reference}
"""What a warm process runs."""
