"""The first screen: which tagger is best, by how much, at what cost, and what is hard."""

from dataclasses import replace

import numpy as np

from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import scaled, significant, with_uncertainties
from jetloom.report.figures.costs import milliseconds_per_jet
from jetloom.results.collect import DataSet, Entry
from jetloom.results.over_seeds import accuracy_difference, mean_confusion, over_seeds, ranked

CLEAR = 2.0
"""Standard deviations from which on a difference is called one."""


def answer(dataset: DataSet) -> list[str]:
    """Sentences for people; each follows from the tables by a fixed rule."""
    entries = ranked(dataset)
    # A hyphen in a name is no place to break a line.
    entries = [replace(entry, title=entry.title.replace("-", "\u2011")) for entry in entries]
    best = entries[0]
    sentences = [_best(dataset, best, entries[1:])]
    if len(entries) > 1 and all(entry.cost for entry in entries):
        sentences.append(_cheapest(dataset, best, entries))
    sentences.append(_classes(dataset, best))
    return sentences


def _best(dataset: DataSet, best: Entry, others: list[Entry]) -> str:
    value, *uncertainties = with_uncertainties(*over_seeds(best, "accuracy")[:1], over_seeds(best, "accuracy").combined)
    figure = " ± ".join([value, *uncertainties])
    chance = max(dataset.first["per_class"].values()) / dataset.jets
    text = f"{best.title} is the most accurate: {figure} (guessing: {significant(chance, 2)})."
    if not others:
        return text
    close = [entry for entry in others if accuracy_difference(best, entry).sigma < CLEAR]
    if not close:
        difference = accuracy_difference(best, others[0])
        gap, *error = with_uncertainties(100 * difference.value, 100 * difference.uncertainty)
        return f"{text} {others[0].title} follows {' ± '.join([gap, *error])} percentage points behind."
    names = _and([entry.title for entry in close])
    verb = "is" if len(close) == 1 else "are"
    return (
        f"{text} {names} {verb} less than two standard deviations behind: these {dataset.thing} do not tell them apart."
    )


def _cheapest(dataset: DataSet, best: Entry, entries: list[Entry]) -> str:
    fewest = min(entries, key=lambda entry: entry.cost["flops"])
    fastest = min(entries, key=lambda entry: milliseconds_per_jet(entry)["median"])
    particles = f"for {fewest.cost['flops_particles']} {dataset.particle}"
    times = milliseconds_per_jet(best)["median"] / milliseconds_per_jet(fastest)["median"]
    if fewest is best:
        text = f"{best.title} also takes the fewest FLOPs ({scaled(best.cost['flops'])} {particles})"
    else:
        share = fewest.cost["flops"] / best.cost["flops"]
        loss = 100 * accuracy_difference(best, fewest).value
        text = (
            f"{fewest.title} takes the fewest FLOPs ({scaled(fewest.cost['flops'])} {particles}), "
            f"{significant(100 * share, 2)} % of {best.title}'s, and is {significant(loss, 2)} points less accurate"
        )
    if fastest is best:
        return f"{text}; {best.title} is the fastest."
    return f"{text}; {fastest.title} is the fastest here, {significant(times, 2)} times as fast as {best.title}."


def _classes(dataset: DataSet, best: Entry) -> str:
    matrix = mean_confusion(best)
    own = matrix.diagonal()
    easy, hard = int(own.argmax()), int(own.argmin())
    wrong = matrix - np.diag(own)
    true, given = np.unravel_index(wrong.argmax(), wrong.shape)
    name = [in_text(item) for item in dataset.classes]
    return (
        f"For {best.title}, {name[easy]} is the easiest class ({100 * own[easy]:.0f} % found) and {name[hard]} the "
        f"hardest ({100 * own[hard]:.0f} %); the most frequent confusion is {name[true]} taken for {name[given]} "
        f"({100 * wrong[true, given]:.0f} % of {name[true]})."
    )


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
