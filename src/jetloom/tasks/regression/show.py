"""What the report shows of a regression: bias and resolution of the response."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from jetloom.drawing.cells import Cell, Records, Table, changed_footnote, made, model_cell, value_cell
from jetloom.drawing.names import observer_in_text
from jetloom.drawing.numbers import fixed, significant, with_uncertainties
from jetloom.results.collection import DataSet, Entry, Task
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.regression.figures import resolution_vs_pt, response, response_vs_pt
from jetloom.tasks.regression.response import bias, bins, difference, quantity, resolution
from jetloom.tasks.shows import Behind, Kind, Metric, Show, enumerated


class Regression(Show):
    """Bias and resolution of one quantity of a jet, as a ratio of predicted to true."""

    title = "Resolution and cost"
    curves: ClassVar = {"loss": "Loss", "bias": "Bias", "resolution": "Resolution"}
    behind = Behind(
        "Behind the best [%]",
        "of the true value; scatter of the difference between parts of the same jets",
        "the best resolution",
    )
    pairing = "both were tested on the same jets, so that what both get wrong alike cancels"
    figures: ClassVar = {
        "response": Kind(
            response,
            "Distribution of the response",
            "Predicted {target} over the true one. The narrower the peak and the nearer to 1 (dotted), the better; the "
            "outermost bins hold what lies beyond. Mean over seeds.",
        ),
        "response_vs_pt": Kind(
            response_vs_pt,
            "Response against {observer}",
            "Median of predicted over true {target} for the {thing} of each bin (thin lines: edges); 1 (dotted) is no "
            "bias. Bands: 68 % interval of a bootstrap over {thing}, and the scatter of the mean over seeds, in "
            "quadrature.",
            leads=True,
        ),
        "resolution_vs_pt": Kind(
            resolution_vs_pt,
            "Resolution against {observer}",
            "Half the width of the central 68 % of predicted over true {target} for the {thing} of each bin (thin "
            "lines: edges); lower is better. Bands: 68 % interval of a bootstrap over {thing}, and the scatter of the "
            "mean over seeds, in quadrature.",
            leads=True,
        ),
    }

    def subject(self, task: Task) -> str:
        """The target, and what it is relative to."""
        relative = task.settings.get("relative_to")
        target: str = task.settings["target"]
        return target + (f"-over-{relative}" if relative else "")

    def heading(self, dataset: DataSet) -> str:
        """The data set and the target."""
        return f"{dataset.title}: regression of the {_target(dataset)}"

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Resolution and bias, in units of the true value."""
        predicted, subject = quantity(dataset.task), self.subject(dataset.task)
        return [
            Metric(f"{subject}_resolution", "Resolution", "lower", partial(over_seeds, name="resolution"), "resolution",
                   "half the width of the central 68 % of predicted / true",
                   difference=partial(difference, "resolution", resolution, predicted)),
            Metric(f"{subject}_bias", "Bias", "nearer to zero", partial(over_seeds, name="bias"), "bias",
                   "median of predicted / true, less 1", difference=partial(difference, "bias", bias, predicted)),
        ]  # fmt: skip

    def tables(self, dataset: DataSet, datasets: Sequence[DataSet]) -> dict[str, Table | None]:
        """Resolution and bias in bins of pT."""
        return {name: self._binned(dataset, name) for name in ("resolution", "bias")}

    def words(self, dataset: DataSet) -> dict[str, str]:
        """The target, and what it is shown against."""
        observer = (dataset.first.get("bins") or {}).get("observer", "")
        return {"target": _target(dataset), "observer": observer_in_text(observer)}

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """Which model resolves best, and whether the next ones can be told apart from it."""
        best, *others = entries
        metric, value = self.metrics(dataset)[0], over_seeds(best, "resolution")
        offset = 100 * (over_seeds(best, "bias").value or 0.0)
        written = " ± ".join(with_uncertainties(100 * (value.value or 0.0), 100 * (value.combined or 0.0)))
        text = (
            f"{best.title} resolves the {_target(dataset)} best: to {written} % (half the width of the central 68 %), "
            f"with a bias of {'' if offset < 0 else '+'}{fixed(offset, 1)} %."
        )
        if not others:
            return text
        close = [entry.title for entry in metric.close(best, others)]
        if close:
            return (
                f"{text} {enumerated(close)} {'is' if len(close) == 1 else 'are'} less than two standard deviations "
                f"behind: these {dataset.words.things} do not tell them apart."
            )
        second = 100 * (over_seeds(others[0], "resolution").value or 0.0)
        return f"{text} {others[0].title} follows with {significant(second, 3)} %."

    def worse(self, best: Entry, other: Entry) -> str:
        """By the ratio of the resolutions."""
        ours, theirs = (over_seeds(entry, "resolution").value or 0.0 for entry in (best, other))
        return f"has a resolution {significant(100 * (theirs / ours - 1), 2)} % wider" if ours else "is less exact"

    def detail(self, dataset: DataSet, best: Entry) -> str:
        """Where the best model is at its best and at its worst."""
        known = [(item.value.number, item) for item in bins(best, "resolution") if item.value]
        if len(known) < 2:
            return ""
        (low, least), (high, most) = (choose(known, key=lambda pair: pair[0]) for choose in (min, max))
        observer = self.words(dataset)["observer"]
        return (
            f"Its resolution is best for {observer} from {least.low:g} to {least.high:g} "
            f"({significant(100 * low, 2)} %) and worst from {most.low:g} to {most.high:g} "
            f"({significant(100 * high, 2)} %)."
        )

    def _binned(self, dataset: DataSet, name: str) -> Table | None:
        """One of the figures of merit in bins of the observer; None where there are none."""
        entries, edges = self.ranked(dataset), bins(dataset.entries[0], name)
        if not edges:
            return None
        columns = [Cell("Model")] + [
            Cell(f"{item.low:g} to {item.high:g}", hint=f"{item.jets:,} test {dataset.words.things}") for item in edges
        ]
        rows, records, runs = [], [], []
        for entry in entries:
            found = bins(entry, name)
            rows.append((entry.model, [model_cell(entry), *(value_cell(item.value) if item.value else Cell("–", None)
                                                            for item in found)]))  # fmt: skip
            records += [
                (entry.model, *made((*item[:3], *(item.value or (None,) * 5)[:4]), "metrics")) for item in found
            ]
            runs += [entry.results] * len(found)
        observer = self.words(dataset)["observer"]
        return Table(
            f"{name.capitalize()} by {observer}",
            f"Each column: {dataset.words.things} with {observer} in this range. ± test {dataset.words.things} (68 % "
            "bootstrap) ± spread over seeds.",
            columns,
            rows,
            changed_footnote(entries),
            Records(("model", "low_edge", "high_edge", "jets", name, "low", "high", "seed_spread"), records, runs),
        )


def _target(dataset: DataSet) -> str:
    """The target in words."""
    settings = dataset.task.settings
    relative = settings.get("relative_to")
    return observer_in_text(settings["target"]) + (f" over {observer_in_text(relative)}" if relative else "")


SHOW = Regression()
