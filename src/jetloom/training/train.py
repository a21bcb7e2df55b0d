"""One training from tensors to ``best.ckpt``, resumed where a killed one stopped."""

import json
import logging
import shutil
import signal
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jetloom.config import TaskChoice, Training, monitor_of, resolve_tasks
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader, first_observers, labelled_observers
from jetloom.errors import JetloomError
from jetloom.identity.digests import Identity, checksum
from jetloom.models import build, load_published
from jetloom.models.network import Network
from jetloom.models.weights import SUFFIXES, told_if_pickled
from jetloom.system.allocator import keep_freed
from jetloom.system.environment import git, hardware, versions
from jetloom.system.files import appearing
from jetloom.system.gpu_use import gpu_use
from jetloom.system.lock import locked
from jetloom.tasks.registry import make
from jetloom.tracking.description import describe
from jetloom.tracking.spool import UNSENT
from jetloom.tracking.start import start_of
from jetloom.tracking.store import open_store
from jetloom.tracking.tracker import Tracker
from jetloom.training.callbacks import SIGTERM_STATUS, Checkpoints
from jetloom.training.checkpoint import data_of, load
from jetloom.training.datamodule import Tensors
from jetloom.training.launch import build_trainer, check_launch, rank
from jetloom.training.lightning import Callback, seed_everything
from jetloom.training.made_from import all_options, chosen_options, training_identity
from jetloom.training.module import Tagger
from jetloom.training.profiling import Profile
from jetloom.training.progress import Progress
from jetloom.training.reporting import ProgressLine, TrackerCallback

# What a checkpoint says of the data: enough to feed the model other jets.
DESCRIBED = {
    *("dataset", "kind", "source", "selection", "classes", "feature_set", "features", "standardisation"),
    *("observers", "max_particles", "buckets", "seed", "derived", "codes", "digest"),
}
FITTED = 512
"""Jets per batch where a task looks at the training split beforehand."""

# Lightning's notes on the accelerator, its tips and its advice on loader workers do not concern a user of the workflow.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


def train(
    manifest: Path,
    output: Path,
    *,
    model: str,
    preset: str | None,
    options: dict[str, Any],
    tasks: Sequence[TaskChoice] | None = None,
    training: Training,
    seed: int,
    run: dict[str, Any],
    scratch: Path,
    store: Path | None = None,
    live_after: float = 0.0,
    threads: int | None = None,
    profile_steps: int | None = None,
) -> None:
    """Train one architecture; write ``best.ckpt``, ``history.csv`` and ``training.json`` when it has ended.

    Args:
        manifest: ``manifest.json`` of the tensors.
        output: directory of the three files. They appear last; until then it is not touched. If it holds a training
            that was made from the same, that one stays and nothing is trained.
        model: row of the registry.
        preset: named size.
        options: over the preset's.
        tasks: what it is trained to do, the main task first; None: classification.
        training: recipe.
        seed: of weights, order and dropout.
        run: ``experiment``, ``dataset``, ``model`` (its name there), ``seed``, ``title``.
        scratch: directory of the running training. If it holds one that is made from the same, that one resumes; one
            of other data, settings, code or starting weights is given up, with a line that says so. Removed at the end.
        store: file of ``jetloom mlflow init``; None tracks nothing.
        live_after: seconds after which it is seen there; what ends well before is left in ``unsent.jsonl``.
        threads: CPU threads; None leaves it to torch.
        profile_steps: write where the time of so many steps goes to ``<output>-profile``; None: of none.

    Raises:
        JetloomError: a mistake in the options, a training in the same scratch directory, a loss that is not a number.
        SystemExit: status 143 after SIGTERM, with the state saved.
    """
    if threads:
        # Those of a machine, on which every process has its share.
        torch.set_num_threads(max(1, threads // training.devices))
    keep_freed()
    order = _Order(
        manifest,
        Manifest.read(manifest),
        model,
        preset,
        options,
        tuple(tasks or resolve_tasks(None, "task")),
        training,
        seed,
        run,
        scratch,
        None if profile_steps is None else Profile(profile_steps, output.with_name(f"{output.name}-profile")),
    )
    check_launch(training)
    training.check_start(training.initial_weights is not None)
    if _is_made(order, output):
        if not rank():
            print(f"{output}: made from the same data, settings and code already; it stays as it is", flush=True)
        return
    if rank():
        _fit(order, None)
        return
    with locked(scratch):
        _claim(order)
        _train(order, output, store, live_after, threads)
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Order:
    """What is to be trained, on what, how and where; as :func:`train` was told."""

    manifest: Path
    described: Manifest
    model: str
    preset: str | None
    options: dict[str, Any]
    tasks: tuple[TaskChoice, ...]
    training: Training
    seed: int
    run: dict[str, Any]
    scratch: Path
    profile: Profile | None

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """Options of the preset and over it."""
        return chosen_options(self.model, self.preset, self.options)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """All options of the architecture as built, but for a length that is the data's."""
        return all_options(self.model, self.chosen)

    def observers(self) -> NDArray[np.float32]:
        """(N, M): observers of many of the jets that are trained on."""
        if self.training.labelled is None:
            return first_observers(self.manifest, "train")
        return labelled_observers(self.manifest, "train", self.training.labelled, self.seed)

    @cached_property
    def identity(self) -> Identity:
        """What the training is made from."""
        return training_identity(self.described.digest, self.model, self.resolved, self.tasks, self.training, self.seed)


def _is_made(order: _Order, output: Path) -> bool:
    """Whether a directory holds this training, all of it."""
    checkpoint, summary = output / "best.ckpt", output / "training.json"
    if not (checkpoint.is_file() and summary.is_file() and (output / "history.csv").is_file()):
        return False
    try:
        facts = json.loads(summary.read_text())
    except ValueError:
        return False
    return not order.identity.other_parts(facts.get("identity")) and facts["checkpoint_sha256"] == checksum(checkpoint)


def _claim(order: _Order) -> None:
    """Note whose scratch directory it is; what a training that was made from something else has left goes."""
    note = order.scratch / "identity.json"
    left = [path for path in order.scratch.iterdir() if path.name != "lock"]
    if left:
        try:
            record = json.loads(note.read_text())
        except (FileNotFoundError, ValueError):
            record = None
        if other := order.identity.other_parts(record):
            print(f"Starting afresh: {order.scratch} holds a training with another {', '.join(other)}", flush=True)
            for path in left:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    with appearing(note) as partial:
        partial.write_text(json.dumps(order.identity.record(), indent=1))


def _state(order: _Order) -> dict[str, Any] | None:
    """What an earlier try of this very training has left."""
    last = order.scratch / "last.ckpt"
    state = load(last) if last.is_file() else None
    return None if state is None or order.identity.other_parts(state.get("identity")) else state


def _train(order: _Order, output: Path, store: Path | None, live_after: float, threads: int | None) -> None:
    """The training on rank 0, with its MLflow run and its files."""
    described, training, run, scratch = order.described, order.training, order.run, order.scratch
    tracker = None
    if store is not None:
        opened = open_store(store, f"{run['experiment']}/{run['dataset']}")
        weights, content = training.initial_weights, order.identity.parts["starting weights"]
        description = describe(
            run,
            architecture=order.model,
            preset=order.preset,
            options=order.resolved,
            tasks=[item.record() for item in order.tasks],
            training=training.model_dump(mode="json"),
            data={"digest": described.digest, "feature_set": described.feature_set},
            jets={name: split.jets for name, split in described.splits.items()},
            manifest=str(order.manifest),
            threads=threads,
            start=start_of(Path(weights), content) if weights else None,
        )
        tracker = Tracker(opened, description, scratch, live_after)
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
        "task": order.tasks[0].record(),
        "also": [item.record() for item in order.tasks[1:]],
        "training": training.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in tagger.model.parameters()),
        "epochs_done": len(progress.history),
        "best_epoch": progress.best_epoch,
        "best": None if progress.best is None else progress.monitor.score(progress.best),
        "monitor": progress.monitor._asdict(),
        "seconds": round(progress.seconds, 3),
        "resumed": progress.resumed,
        "device": tagger.device_name,
        "gpu_use": used.summary(),
        "processes": training.devices * training.nodes,
        "hardware": hardware(threads or torch.get_num_threads()),
        "versions": versions(),
        "git": git(),
        "data_digest": described.digest,
        "identity": order.identity.record(),
        "checkpoint_sha256": checksum(scratch / "best.ckpt"),
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
    state = _state(order)
    task = make(order.tasks, data_of(described.model_dump(include=DESCRIBED)))
    sizes = {
        "n_features": described.width,
        "n_classes": task.width,
        "max_particles": described.max_particles,
    }
    network = build(order.model, preset=order.preset, **sizes, **order.options)
    task.attach(network)
    if training.initial_weights:
        start_from(network, Path(training.initial_weights))
    task.fit(network, order.observers, lambda: _jets(order))
    progress = Progress(training, monitor_of(training, order.tasks))
    if training.labelled and rank() == 0:
        each = training.labelled // len(described.classes)
        print(f"Labels of {each * len(described.classes)} training jets, {each} of each class", flush=True)
    if state is not None:
        progress.load_state_dict(state["progress"])
        progress.resumed += 1
        network.load_state_dict(state["model"])
        if rank() == 0:
            print(f"Going on at epoch {progress.epoch + 1}, batch {progress.position}", flush=True)
    content = {
        "model": order.model,
        "options": order.resolved,
        "tasks": [item.record() for item in order.tasks],
        **sizes,
        "manifest": described.model_dump(mode="json", include=DESCRIBED),
        "training": training.model_dump(mode="json"),
        "seed": seed,
        "run": order.run,
        "identity": order.identity.record(),
    }
    tagger = Tagger(network, task, progress, seed, state and state["optimiser"])
    callbacks: list[Callback] = [
        Checkpoints(scratch, content, training.checkpoint_minutes),
        ProgressLine(order.run["title"]),
    ]
    if tracker is not None:
        callbacks.append(TrackerCallback(tracker))
    if order.profile is not None:
        callbacks.append(order.profile)
    trainer = build_trainer(training, callbacks)
    if state is not None and state["precision"]:
        trainer.precision_plugin.load_state_dict(state["precision"])
    if not progress.finished:
        before = signal.getsignal(signal.SIGTERM)
        try:
            trainer.fit(tagger, datamodule=Tensors(order.manifest, progress, seed, watched=order.profile is not None))
        finally:
            signal.signal(signal.SIGTERM, before)
    if not progress.finished:
        raise JetloomError(f"the training stopped in epoch {progress.epoch + 1} of {progress.epochs}; give it again")
    tagger.device_name = str(trainer.strategy.root_device)
    return tagger


def _jets(order: _Order) -> Loader:
    labelled = order.training.labelled
    return Loader(order.manifest, "train", batch_size=FITTED, shuffle=True, seed=order.seed, labelled=labelled)


def start_from(network: Network, path: Path) -> None:
    """Weights of the same encoder, of another training or published, and what fits of its head (fine-tuning).

    Raises:
        JetloomError: the encoders differ, or the file holds no weights.
    """
    if path.suffix in SUFFIXES:
        loaded = load_published(network, path, new_head=True)
        if rank() == 0:
            print(loaded)
        return
    try:
        weights, own = load(path)["state_dict"], network.state_dict()
    except JetloomError as error:
        raise JetloomError(told_if_pickled(path) or str(error)) from None
    new = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    foreign = [name for name in weights if name not in own]
    if wrong := [name for name in [*new, *foreign] if not name.startswith("head.")]:
        raise JetloomError(f"initial_weights: {path} does not fit this model: {', '.join(wrong[:5])}")
    network.load_state_dict({name: weights[name] for name in own if name not in new}, strict=False)
    if rank() == 0:
        print(f"Started from {path}; new: {', '.join(new) or 'nothing'}")


def _csv(history: list[dict[str, float]]) -> str:
    columns = list(history[0])
    rows = [",".join(columns), *(",".join(f"{row[name]:.10g}" for name in columns) for row in history)]
    return "\n".join(rows) + "\n"


def _move(source: Path, target: Path) -> None:
    # Scratch may be another file system: copy beside the target, then rename.
    with appearing(target) as partial:
        shutil.copyfile(source, partial)
