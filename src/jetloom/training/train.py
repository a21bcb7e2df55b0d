"""One training from tensors to ``best.ckpt``, resumed where a killed one stopped."""

import json
import logging
import shutil
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import nn

from jetloom.config import Training
from jetloom.data.manifest import Manifest
from jetloom.environment import git, hardware, versions
from jetloom.errors import JetloomError
from jetloom.files import appearing
from jetloom.gpu_use import gpu_use
from jetloom.models import build, load_published
from jetloom.options import check_options
from jetloom.options import options as options_of
from jetloom.presets import model_card
from jetloom.tracking.description import describe
from jetloom.tracking.spool import UNSENT
from jetloom.tracking.store import open_store
from jetloom.tracking.tracker import Tracker
from jetloom.training.callbacks import SIGTERM_STATUS, Keeper, Narrator, Reporter
from jetloom.training.checkpoint import load
from jetloom.training.datamodule import Tensors
from jetloom.training.launch import build_trainer, check_launch, rank
from jetloom.training.lock import locked
from jetloom.training.module import Tagger
from jetloom.training.optimisers import head_of
from jetloom.training.progress import COLUMNS, Progress

# What a checkpoint says of the data: enough to feed the model other jets.
DESCRIBED = {
    *("dataset", "kind", "source", "selection", "classes", "background", "feature_set", "features", "standardisation"),
    *("max_particles", "buckets", "seed", "digest"),
}

# Lightning's notes on the accelerator, its tips and its advice on loader workers do not concern a user of the workflow.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning.pytorch")


def train(
    manifest: Path,
    output: Path,
    *,
    model: str,
    preset: str | None,
    options: dict[str, Any],
    training: Training,
    seed: int,
    run: dict[str, Any],
    scratch: Path,
    store: Path | None = None,
    threads: int | None = None,
) -> None:
    """Train one architecture; write ``best.ckpt``, ``history.csv`` and ``training.json`` when it has ended.

    Args:
        manifest: ``manifest.json`` of the tensors.
        output: directory of the three files. They appear last; until then it is not touched.
        model: row of the registry.
        preset: named size.
        options: over the preset's.
        training: recipe.
        seed: of weights, order and dropout.
        run: ``experiment``, ``dataset``, ``model`` (its name there), ``seed``, ``title``.
        scratch: directory of the running training. If it holds one, that one goes on; the caller keys it by whatever
            makes a training another one. Removed at the end.
        store: file of ``jetloom mlflow init``; None tracks nothing.
        threads: CPU threads; None leaves it to torch.

    Raises:
        JetloomError: a mistake in the options, a training in the same scratch directory, a loss that is not a number.
        SystemExit: status 143 after SIGTERM, with the state saved.
    """
    if threads:
        # Those of a machine, on which every process has its share.
        torch.set_num_threads(max(1, threads // training.devices))
    order = _Order(manifest, Manifest.read(manifest), model, preset, options, training, seed, run, scratch)
    check_launch(training)
    if rank():
        _fit(order, None)
        return
    with locked(scratch):
        _train(order, output, store, threads)
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Order:
    """What is to be trained, on what, how and where; as :func:`train` was told."""

    manifest: Path
    described: Manifest
    model: str
    preset: str | None
    options: dict[str, Any]
    training: Training
    seed: int
    run: dict[str, Any]
    scratch: Path

    @property
    def chosen(self) -> dict[str, Any]:
        """Options of the preset and over it."""
        preset = model_card(self.model).presets[self.preset].options if self.preset else {}
        return check_options(self.model, preset | self.options, self.model)

    @property
    def resolved(self) -> dict[str, Any]:
        """All options of the architecture as built, but for a length that is the data's."""
        known = {name: option.default for name, option in options_of(self.model).items() if name != "max_particles"}
        return known | self.chosen


def _train(order: _Order, output: Path, store: Path | None, threads: int | None) -> None:
    """The training on rank 0, with its MLflow run and its files."""
    described, training, run, scratch = order.described, order.training, order.run, order.scratch
    tracker = None
    if store is not None:
        opened = open_store(store, f"{run['experiment']}/{run['dataset']}")
        description = describe(
            run,
            architecture=order.model,
            preset=order.preset,
            options=order.resolved,
            training=training.model_dump(mode="json"),
            data={"digest": described.digest, "feature_set": described.feature_set},
            jets={name: split.jets for name, split in described.splits.items()},
            manifest=str(order.manifest),
            threads=threads,
        )
        tracker = Tracker(opened, description, scratch)
    try:
        with gpu_use() as used:
            tagger = _fit(order, tracker)
    except (SystemExit, KeyboardInterrupt) as error:
        if tracker is not None:
            tracker.close("KILLED")
        # Lightning's own exception for SIGTERM has no status, which would be 0.
        raise SystemExit(SIGTERM_STATUS if isinstance(error, SystemExit) else 128 + signal.SIGINT) from None
    except BaseException:
        if tracker is not None:
            tracker.close("FAILED")
        raise
    progress = tagger.progress
    with appearing(scratch / "history.csv") as partial:
        partial.write_text(_csv(progress.history))
    mlflow = None
    if tracker is not None:
        tracker.close("FINISHED", [scratch / "best.ckpt", scratch / "history.csv"])
        mlflow = tracker.identity()
    summary = {
        "schema_version": 1,
        "run": run,
        "architecture": order.model,
        "preset": order.preset,
        "options": order.chosen,
        "training": training.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in tagger.model.parameters()),
        "epochs_done": len(progress.history),
        "best_epoch": progress.best_epoch,
        "best": progress.best if training.monitor == "accuracy" else -progress.best,
        "seconds": round(progress.seconds, 3),
        "resumed": progress.resumed,
        "device": tagger.device_name,
        "gpu_use": used.summary(),
        "processes": training.devices * training.nodes,
        "hardware": hardware(threads or torch.get_num_threads()),
        "versions": versions(),
        "git": git(),
        "data_digest": described.digest,
        "mlflow": mlflow,
    }
    with appearing(scratch / "training.json") as partial:
        partial.write_text(json.dumps(summary, indent=1))
    output.mkdir(parents=True, exist_ok=True)
    (output / UNSENT).unlink(missing_ok=True)
    if (scratch / UNSENT).is_file():
        _move(scratch / UNSENT, output / UNSENT)
    # best.ckpt last: it is what other steps wait for.
    for name in ("history.csv", "training.json", "best.ckpt"):
        _move(scratch / name, output / name)


def _fit(order: _Order, tracker: Tracker | None) -> Tagger:
    """Train, or go on with what lies in ``scratch``, to the end of the recipe."""
    described, training, seed, scratch = order.described, order.training, order.seed, order.scratch
    seed_everything(seed, verbose=False)
    sizes = {
        "n_features": len(described.features),
        "n_classes": len(described.classes),
        "max_particles": described.max_particles,
    }
    network = build(order.model, preset=order.preset, **sizes, **order.options)
    if training.initial_weights:
        _start_from(network, len(described.classes), Path(training.initial_weights))
    progress = Progress(training)
    state = load(scratch / "last.ckpt") if (scratch / "last.ckpt").is_file() else None
    if state is not None:
        progress.load_state_dict(state["progress"])
        progress.resumed += 1
        network.load_state_dict(state["model"])
        if rank() == 0:
            print(f"Going on at epoch {progress.epoch + 1}, batch {progress.position}", flush=True)
    content = {
        "model": order.model,
        "options": order.resolved,
        **sizes,
        "manifest": described.model_dump(mode="json", include=DESCRIBED),
        "training": training.model_dump(mode="json"),
        "seed": seed,
        "run": order.run,
    }
    tagger = Tagger(network, len(described.classes), progress, seed, state and state["optimiser"])
    callbacks = [Keeper(scratch, content, training.checkpoint_minutes), Narrator(order.run["title"])]
    if tracker is not None:
        callbacks.append(Reporter(tracker))
    trainer = build_trainer(training, callbacks)
    if state is not None and state["precision"]:
        trainer.precision_plugin.load_state_dict(state["precision"])
    if not progress.finished:
        before = signal.getsignal(signal.SIGTERM)
        try:
            trainer.fit(tagger, datamodule=Tensors(order.manifest, progress, seed))
        finally:
            signal.signal(signal.SIGTERM, before)
    if not progress.finished:
        raise JetloomError(f"the training stopped in epoch {progress.epoch + 1} of {progress.epochs}; give it again")
    tagger.device_name = str(trainer.strategy.root_device)
    return tagger


def _start_from(network: nn.Module, n_classes: int, path: Path) -> None:
    """Weights of another training, but for a last layer of another size (fine-tuning).

    Raises:
        JetloomError: anything else does not fit.
    """
    if path.suffix == ".pt":
        loaded = load_published(network, path)
        if rank() == 0:
            print(loaded)
        return
    weights, own = load(path)["state_dict"], network.state_dict()
    other = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    head = head_of(network, n_classes)
    if wrong := [name for name in other if not name.startswith(f"{head}.")]:
        raise JetloomError(f"initial_weights: {path} does not fit this model: {', '.join(wrong[:5])}")
    network.load_state_dict(
        {name: value for name, value in weights.items() if name in own and name not in other}, strict=False
    )
    if rank() == 0:
        print(f"Started from {path}; new: {', '.join(other) or 'nothing'}")


def _csv(history: list[dict[str, float]]) -> str:
    rows = [",".join(COLUMNS), *(",".join(f"{row[name]:.10g}" for name in COLUMNS) for row in history)]
    return "\n".join(rows) + "\n"


def _move(source: Path, target: Path) -> None:
    # Scratch may be another file system: copy beside the target, then rename.
    with appearing(target) as partial:
        shutil.copyfile(source, partial)
