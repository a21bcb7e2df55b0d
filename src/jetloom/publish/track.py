"""What was measured after the trainings goes into their MLflow runs; the best of each model is registered."""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jetloom.catalogue.cards import task_card
from jetloom.config import Monitor
from jetloom.config.task import DEFAULT
from jetloom.errors import JetloomError
from jetloom.publish.beside import gains, run_of, two_sample_tests
from jetloom.publish.flat import flat_closeness, flat_cost, flat_evaluation, flat_labels
from jetloom.system.files import appearing


class Tracked(NamedTuple):
    """A training whose run took its figures."""

    path: Path
    run: dict[str, Any]
    client: Any
    run_id: str
    parent: str | None
    values: dict[str, float]


def track(
    metrics: Sequence[Path],
    costs: Sequence[Path],
    figures: Path | None,
    output: Path,
    *,
    closeness: Sequence[Path] = (),
    config: Path | None = None,
    onnx: bool = True,
) -> None:
    """Log everything that was made after the trainings, in one go: MLflow takes seconds to load.

    Args:
        metrics: ``metrics.json`` of evaluations; beside each ``predictions.parquet``, ``training.json``, ``best.ckpt``
            and what the training could not send. Runs not tracked are passed over.
        costs: ``cost.json`` of the models.
        figures: directory of the report's figures, one directory in it for each data set.
        output: JSON file: ``sent`` (run ids), ``not_sent`` (reasons) by training, ``registered`` by model.
        closeness: ``closeness.json`` of derived data sets; each goes to the training that made the set.
        config: the experiment's configuration.
        onnx: register models as ONNX, which takes seconds for each; else as checkpoints.
    """
    measured = {(cost["run"]["dataset"], cost["run"]["model"]): (path, cost) for path, cost in map(_read, costs)}
    compared = [_read(path) for path in closeness]
    trainings = [(path, evaluated, _training(path)) for path, evaluated in map(_read, metrics)]
    known = [(evaluated, training) for _, evaluated, training in trainings]
    gained, told_apart = gains(known), two_sample_tests([content for _, content in compared], known)
    told: dict[str, dict[str, Any]] = {"sent": {}, "not_sent": {}, "registered": {}}
    sent: list[Tracked] = []
    clients = None
    for path, evaluated, training in trainings:
        identity = evaluated.get("mlflow") or {}
        if not identity.get("uri"):
            continue
        from jetloom.tracking.store import Clients, reason, unmasked

        clients = clients or Clients()
        run = evaluated["run"]
        this = run_of(run)
        name = f"{run['dataset']}/{run['model']}/seed{run['seed']}"
        values, artifacts = flat_evaluation(evaluated), [(path, ""), *_beside(path)]
        values |= flat_labels(training.get("training", {}), len(evaluated.get("classes", [0])))
        distances, files = flat_closeness(compared, this)
        values |= distances | gained.get(this, {}) | told_apart.get(this, {})
        artifacts += [(file, f"derived/{file.parent.name}") for file in files]
        if (run["dataset"], run["model"]) in measured:
            cost_path, cost = measured[run["dataset"], run["model"]]
            values |= flat_cost(cost)
            artifacts.append((cost_path, ""))
        if figures is not None:
            artifacts += [(file, "figures") for file in sorted((figures / run["dataset"]).glob("*.png"))]
        artifacts += [(config, "experiment")] if config else []
        try:
            client = clients.of(unmasked(identity["uri"]))
            sent.append(_send(client, path, run, identity, values, artifacts))
            told["sent"][name] = sent[-1].run_id
        except Exception as error:
            # What a server or a driver raises has no common class, and no result may depend on it.
            told["not_sent"][name] = reason(error)
            print(f"{name}: {reason(error)}; its figures are in the files only", file=sys.stderr)
    for item in sent:
        _link(item)
    for of_one in _grouped(sent):
        name = f"{of_one[0].run['dataset']}-{of_one[0].run['model']}"
        try:
            _log_means(of_one)
            told["registered"] |= _register(name, of_one, onnx)
        except Exception as error:
            from jetloom.tracking.store import reason

            told["not_sent"][name] = reason(error)
            print(f"{name}: {reason(error)}; it is not registered", file=sys.stderr)
    with appearing(output) as partial:
        partial.write_text(json.dumps(told, indent=1))


def _training(path: Path) -> dict[str, Any]:
    """What the training beside an evaluation says of itself, if it is there."""
    file = path.with_name("training.json")
    return _read(file)[1] if file.is_file() else {}


def _link(item: Tracked) -> None:
    """To the run that it starts from, which may have come to the store after it."""
    from jetloom.tracking.start import link, start_of_training
    from jetloom.tracking.store import reason

    start = start_of_training(_training(item.path))
    try:
        if start is not None:
            link(item.client, item.run_id, start)
    except Exception as error:
        print(f"{item.path.parent}: {reason(error)}; its run does not name the one it starts from", file=sys.stderr)


def _beside(path: Path) -> list[tuple[Path, str]]:
    files = [path.with_name(name) for name in ("predictions.parquet", "training.json")]
    return [(file, "") for file in files if file.is_file()]


def _send(
    client: Any,
    path: Path,
    run: dict[str, Any],
    identity: dict[str, Any],
    values: dict[str, float],
    artifacts: Sequence[tuple[Path, str]],
) -> Tracked:
    """Figures and files of one training, after what the training itself could not send."""
    from mlflow.entities import Metric, RunTag

    from jetloom.tracking.spool import UNSENT
    from jetloom.tracking.start import find_run
    from jetloom.tracking.store import experiment_id, patiently
    from jetloom.tracking.sync import send

    run_id = identity["run_id"]
    if path.with_name(UNSENT).is_file():
        run_id = send(client, path.with_name(UNSENT))
    elif run_id is None:
        run_id = find_run(client, experiment_id(client, identity["experiment"]), identity["key"])
    if run_id is None:
        raise JetloomError("the store has no run of it, and the training left nothing to make one")
    now = path.stat().st_mtime_ns // 1_000_000
    logged = [Metric(name, float(value), now, 0) for name, value in values.items()]
    patiently(client.log_batch, run_id, metrics=logged, tags=[RunTag("stage", "evaluated")])
    for file, folder in artifacts:
        patiently(client.log_artifact, run_id, str(file), folder or None)
    parent = client.get_run(run_id).data.tags.get("mlflow.parentRunId")
    return Tracked(path, run, client, run_id, parent, values)


def _grouped(sent: Sequence[Tracked]) -> list[list[Tracked]]:
    """Seeds of one model on one data set."""
    groups: dict[tuple[str, str], list[Tracked]] = defaultdict(list)
    for item in sent:
        groups[item.run["dataset"], item.run["model"]].append(item)
    return list(groups.values())


def _log_means(seeds: Sequence[Tracked]) -> None:
    """Mean of every figure over the seeds, and its standard deviation as ``..._spread``, into the parent."""
    from mlflow.entities import Metric, RunTag

    from jetloom.tracking.store import patiently

    if seeds[0].parent is None:
        return
    now = max(item.path.stat().st_mtime_ns for item in seeds) // 1_000_000
    means = {"seeds": float(len(seeds))}
    for name in dict.fromkeys(name for item in seeds for name in item.values):
        values = [item.values[name] for item in seeds if name in item.values]
        means[name] = statistics.fmean(values)
        if len(values) > 1 and not name.startswith("cost/") and name != "labels/n":
            means[f"{name}_spread"] = statistics.stdev(values)
    logged = [Metric(name, value, now, 0) for name, value in means.items()]
    patiently(seeds[0].client.log_batch, seeds[0].parent, metrics=logged, tags=[RunTag("stage", "evaluated")])


def _register(name: str, seeds: Sequence[Tracked], onnx: bool) -> dict[str, Any]:
    """The seed that was best on the validation split: the test split must not choose."""
    known = []
    for item in seeds:
        facts, checkpoint = _training(item.path), item.path.with_name("best.ckpt")
        if facts and checkpoint.is_file():
            if task_card(facts.get("task", {}).get("name", DEFAULT)).pretrains:
                continue
            known.append((Monitor(**facts["monitor"]).score(facts["best"]), item, facts, checkpoint))
    if not known:
        return {}
    _, best, facts, checkpoint = max(known, key=lambda entry: entry[0])
    from jetloom.publish.registry import ALIAS, register

    version, champion = register(
        best.client, name, best.run_id, checkpoint, onnx=onnx, figure=facts["best"],
        monitor=Monitor(**facts["monitor"]), data=facts["data_digest"],
    )  # fmt: skip
    return {name: {"version": version, "run_id": best.run_id, ALIAS: champion}}


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    return path, json.loads(path.read_text())
