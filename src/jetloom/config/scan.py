"""``labelled_jets`` of a model: one training for each number of labelled jets, a model for everything else."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jetloom.catalogue import cards
from jetloom.config.mistakes import section
from jetloom.config.section import Different, Labels
from jetloom.config.values import merge

_SCAN: TypeAdapter[list[Any]] = TypeAdapter(Different[Labels])


def name_of(model: str, labels: int | str) -> str:
    """The name of a model at a number of labelled jets; with all it keeps its own."""
    return model if labels == "all" else f"{model}-n{labels}"


def title_of(title: str, labels: int | str) -> str:
    """Its title there."""
    return title if labels == "all" else f"{title}, {labels:,} labels"


def arm_of(model: str, title: str, labels: int | str) -> tuple[str, str]:
    """Name and title of the model whose scan a training belongs to: that of a single number is its own."""
    return model.removesuffix(name_of("", labels)), title.removesuffix(title_of("", labels))


def expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration before the schema reads it, with a model for each entry of each ``labelled_jets``.

    What is no list of such numbers, or belongs to a model that is not listed, stays as it is for the schema to refuse.
    """
    changes, datasets = section(values, "per_model"), section(values, "per_dataset")
    lists = [values.get("models"), *(section(datasets, name, "per_dataset.").get("models") for name in datasets)]
    listed = {str(name) for names in lists if isinstance(names, Sequence) for name in names}
    scans = {name: scan for name in changes if name in listed and (scan := _scan(changes[name]))}
    if not scans:
        return dict(values)

    def spread(names: Any) -> Any:
        if not isinstance(names, list):
            return names
        return [name_of(name, labels) for name in names for labels in scans.get(name, ["all"])]

    per_model = {
        key: value for name, change in changes.items() for key, value in _each(name, change, scans.get(name)).items()
    }
    per_dataset = {
        name: {**change, "models": spread(change["models"])}
        if isinstance(change, Mapping) and "models" in change
        else change
        for name, change in datasets.items()
    }
    here = {"models": spread(values.get("models")), "per_model": per_model}
    return {**values, **here, **({"per_dataset": per_dataset} if per_dataset else {})}


def _scan(change: Any) -> list[int | str]:
    given = change.get("labelled_jets") if isinstance(change, Mapping) else None
    try:
        return _SCAN.validate_python(given) if isinstance(given, list) else []
    except ValidationError:
        return []


def _each(name: str, change: Any, scan: list[int | str] | None) -> dict[str, Any]:
    """The changes of a model at each number of labelled jets, by the name that it has there."""
    if scan is None:
        return {name: change}
    own = {key: value for key, value in change.items() if key != "labelled_jets"}
    architecture = str(own.get("based_on") or name)
    known = architecture in cards.names("models")
    title = own.get("title") or (cards.model_card(architecture).title if known else architecture)

    def at(labels: int | str) -> dict[str, Any]:
        here = {"title": title_of(title, labels), "training": {"labelled_jets": labels}}
        return own if labels == "all" else merge(own, {"based_on": architecture, **here})

    return {name_of(name, labels): at(labels) for labels in scan}
