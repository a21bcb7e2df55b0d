"""The first screen: which model is best, by how much, at what cost, and what is hard."""

from dataclasses import replace

from jetloom.drawing.numbers import scaled, significant
from jetloom.report.shows import show_of
from jetloom.results.collection import DataSet, Entry
from jetloom.results.cost import milliseconds_per_jet
from jetloom.tasks.shows import Show, enumerated


def answer(dataset: DataSet) -> list[str]:
    """Sentences for people; each follows from the tables by a fixed rule."""
    show = show_of(dataset.task.name)
    # A hyphen in a name is no place to break a line.
    entries = [replace(entry, title=entry.title.replace("-", "\u2011")) for entry in show.ranked(dataset)]
    if not dataset.evaluated:
        return [f"Trained, not evaluated: {enumerated([entry.title for entry in entries])}."]
    best = entries[0]
    sentences = [show.verdict(dataset, entries)]
    if len(entries) > 1 and all(entry.cost for entry in entries):
        sentences.append(_cheapest(show, dataset, best, entries))
    sentences.append(show.detail(dataset, best))
    return [sentence for sentence in sentences if sentence]


def _cheapest(show: Show, dataset: DataSet, best: Entry, entries: list[Entry]) -> str:
    fewest = min(entries, key=lambda entry: entry.costs["flops"])
    fastest = min(entries, key=lambda entry: milliseconds_per_jet(entry)["median"])
    particles = f"for {fewest.costs['flops_particles']} {dataset.words.particles}"
    if len({(entry.costs["flops"], milliseconds_per_jet(entry)["median"]) for entry in entries}) == 1:
        # The same network, measured once.
        return f"All of them take as many FLOPs ({scaled(best.costs['flops'])} {particles}) and as long."
    times = milliseconds_per_jet(best)["median"] / milliseconds_per_jet(fastest)["median"]
    if fewest is best:
        text = f"{best.title} also takes the fewest FLOPs ({scaled(best.costs['flops'])} {particles})"
    else:
        share = significant(100 * fewest.costs["flops"] / best.costs["flops"], 2)
        text = (
            f"{fewest.title} takes the fewest FLOPs ({scaled(fewest.costs['flops'])} {particles}), "
            f"{share} % of {best.title}'s, and {show.worse(best, fewest)}"
        )
    if fastest is best:
        return f"{text}; {best.title} is the fastest."
    return f"{text}; {fastest.title} is the fastest here, {significant(times, 2)} times as fast as {best.title}."
