"""Derived data sets in an experiment: what makes them, what they are then, and that nothing waits for itself."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jetloom.catalogue import cards
from jetloom.catalogue.options import check_options, defaults
from jetloom.config.dataset import Dataset
from jetloom.config.derived import DerivedDataset, MadeBy, derived_dataset
from jetloom.config.mistakes import known
from jetloom.config.run import Run
from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from jetloom.config.experiment import Experiment

ELSEWHERE = ("based_on", "raw", "files", "simulation", "splits", "source")
"""Keys of a data set that comes from somewhere else."""


def made_by(experiment: "Experiment", dataset: str) -> MadeBy | None:
    """What makes a data set; None: it is none that trainings make."""
    changes = experiment.per_dataset.get(dataset)
    return changes.made_by if changes else None


def maker_of(experiment: "Experiment", dataset: str) -> Run | None:
    """The training that makes a data set; None: it is not derived, a mixture, or made by released weights."""
    made = made_by(experiment, dataset)
    if made and made.generate:
        return Run(made.generate.dataset, made.generate.model, made.generate.seed)
    if made and made.tokenise and made.tokenise.model is not None and made.tokenise.seed is not None:
        return Run(made.tokenise.dataset, made.tokenise.model, made.tokenise.seed)
    return None


def in_order(experiment: "Experiment") -> Iterator[str]:
    """Names of all data sets, sources before what is made from them.

    Raises:
        JetloomError: a source that there is not, or a data set that waits for itself.
    """
    done: list[str] = []

    def visit(name: str, waiting: tuple[str, ...]) -> Iterator[str]:
        if name in waiting:
            chain = " waits for ".join([*waiting, name])
            raise JetloomError(f"per_dataset.{waiting[0]}.made_by: it would wait for itself ({chain})")
        if name in done:
            return
        for source in _waits_for(experiment, name):
            yield from visit(source, (*waiting, name))
        done.append(name)
        yield name

    for name in experiment.datasets:
        yield from visit(name, ())


def _waits_for(experiment: "Experiment", dataset: str) -> list[str]:
    """Data sets that must be there before one can be made: its sources, and those of what its training starts from."""
    made, run = made_by(experiment, dataset), maker_of(experiment, dataset)
    if made is None:
        return []
    for source in made.sources:
        known(f"per_dataset.{dataset}.made_by", source, experiment.datasets)
    if made.truth:
        known(f"per_dataset.{dataset}.made_by.truth", made.truth, experiment.datasets)
    waits, seen = [*made.sources, *([made.truth] if made.truth else [])], set[Run]()
    while run and run not in seen:
        seen.add(run)
        changes = experiment.per_model.get(run.model)
        run = changes.starts_from.run(run.seed) if changes and changes.starts_from else None
        waits += [run.dataset] if run else []
    return list(dict.fromkeys(waits))


def resolve_made(experiment: "Experiment", name: str, resolved: Mapping[str, Dataset]) -> DerivedDataset:
    """The settings of a derived data set.

    Args:
        experiment: whose data set it is.
        name: of the data set.
        resolved: its sources, and whatever else is known.

    Raises:
        JetloomError: keys that contradict each other, or no such tokenizer.
    """
    made, changes = made_by(experiment, name), experiment.per_dataset[name]
    assert made is not None
    where = f"per_dataset.{name}.made_by"
    own = changes.model_extra or {}
    if other := [key for key in ELSEWHERE if key in own or getattr(changes, key, None) is not None]:
        raise JetloomError(f"{where}: {name} is made by a training; leave {', '.join(other)} out")
    sources = {source: resolved[source] for source in made.sources}
    return derived_dataset(name, made, sources, own, _codes(experiment, made, resolved, where))


def _codes(experiment: "Experiment", made: MadeBy, resolved: Mapping[str, Dataset], where: str) -> int | None:
    """How many codes the tokenizer behind a data set has; None: it is a mixture."""
    if made.mixture:
        return None
    if made.generate:
        source = resolved[made.generate.dataset]
        if source.kind != "tokens" or not isinstance(source, DerivedDataset):
            raise JetloomError(f"{where}.generate: {made.generate.dataset} holds no tokens; give it `kind: tokens`")
        return source.codes
    assert made.tokenise is not None
    source = resolved[made.tokenise.dataset]
    if source.kind != "jets":
        raise JetloomError(f"{where}.tokenise: {made.tokenise.dataset} holds {source.kind}; expected jets of particles")
    changes = experiment.per_model.get(made.tokenise.model or "")
    architecture = made.tokenise.architecture or (changes.based_on if changes else None) or made.tokenise.model or ""
    known(f"{where}.tokenise", architecture, cards.names("models"))
    card = cards.model_card(architecture)
    if card.task != "tokenisation":
        tokenizers = [name for name in cards.names("models") if cards.model_card(name).task == "tokenisation"]
        raise JetloomError(f"{where}.tokenise: {architecture} is no tokenizer; expected {' or '.join(tokenizers)}")
    of_training = (changes.preset if changes else None) or experiment.preset or source.preset or "tiny"
    preset = made.tokenise.preset if made.tokenise.checkpoint else of_training
    known(f"{where}.tokenise: preset of {architecture}", preset, card.presets)
    if made.tokenise.checkpoint:
        options = check_options(architecture, made.tokenise.options, f"{where}.tokenise.options")
    else:
        options = changes.options if changes else {}
    codes: int = (defaults(architecture) | card.presets[preset].options | options)["codes"]
    return codes


def check_maker(experiment: "Experiment", dataset: str) -> None:
    """Whether what makes a derived data set is trained in this experiment, and for such a thing.

    Raises:
        JetloomError: it is not.
    """
    made = made_by(experiment, dataset)
    if made is None:
        return
    where = f"per_dataset.{dataset}.made_by"
    if made.compare and len({experiment.dataset(name).kind for name in made.compare}) > 1:
        raise JetloomError(f"{where}.compare: expected data sets of one kind")
    if made.truth:
        inputs = [(other.kind, other.feature_set) for other in map(experiment.dataset, (dataset, made.truth))]
        if len(set(inputs)) > 1:
            (kind, ours), (_, theirs) = inputs
            raise JetloomError(f"{where}.truth: expected {kind} with the features {ours}; {made.truth} has {theirs}")
    maker = maker_of(experiment, dataset)
    if maker is None:
        return
    if maker not in experiment.runs:
        seeds = [run.seed for run in experiment.runs if run[:2] == maker[:2]]
        known_ones = f"; it has {', '.join(map(str, seeds))}" if seeds else ""
        raise JetloomError(
            f"{where}: no training of {maker.model} on {maker.dataset} with seed {maker.seed} in this experiment"
            f"{known_ones}"
        )
    task, wanted = experiment.tasks_of(maker.model)[0].name, "jets" if made.generate else "codes"
    if cards.task_card(task).makes != wanted:
        raise JetloomError(f"{where}: {maker.model} is trained for {task}, which makes no {wanted}")
