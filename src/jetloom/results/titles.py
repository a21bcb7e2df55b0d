"""What trainings and data sets are called: when they were made, and now."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jetloom.catalogue import cards
from jetloom.catalogue.cards import model_card
from jetloom.config import DerivedDataset, parse_experiment
from jetloom.results.collection import Collection, Entry


def titled(collection: Collection, config: Mapping[str, Any]) -> Collection:
    """Results under the titles that a configuration gives their models and data sets now.

    Args:
        collection: results, under the titles that models had when they were trained, and presets of data sets have.
        config: content of ``config.yaml``; what it does not name keeps its title.
    """
    changes, of_datasets = config.get("per_model") or {}, config.get("per_dataset") or {}
    lists = [config, *(section or {} for section in of_datasets.values())]
    listed = {*changes, *(name for section in lists for name in section.get("models") or [])}

    def title(entry: Entry) -> str:
        if entry.model not in listed:
            return entry.title
        change = changes.get(entry.model) or {}
        return change.get("title") or model_card(change.get("based_on") or entry.model).title

    # A derived data set is called after its source.
    planned = parse_experiment(config).datasets_by_name if any(
        (section or {}).get("made_by") for section in of_datasets.values()
    ) else {}  # fmt: skip
    titles = {name: (section or {}).get("title") for name, section in of_datasets.items()}
    titles |= {name: dataset.title for name, dataset in planned.items() if isinstance(dataset, DerivedDataset)}
    return Collection(
        [
            replace(
                dataset,
                title=titles.get(dataset.entries[0].dataset) or dataset.title,
                entries=[replace(entry, title=title(entry)) for entry in dataset.entries],
            )
            for dataset in collection.datasets
        ]
    )


def title_of_preset(name: str) -> str:
    """Title of a data set; its name, if it was made from a preset that is no longer there."""
    return cards.read("datasets", name)["title"] if name in cards.names("datasets") else name
