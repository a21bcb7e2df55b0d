"""Pictures of views: what the augmentations do to a jet."""

from typing import Any

import numpy as np
import torch

from jetloom.drawing.names import in_figure
from jetloom.drawing.panels import context, panels
from jetloom.drawing.style import PALETTE, Drawing, Look
from jetloom.results.collection import DataSet
from jetloom.tasks.contrastive import views
from jetloom.tasks.contrastive.views import View
from jetloom.tasks.draws import drawing

LARGEST = 260.0
"""Area of the marker of the hardest particle, square points."""
SEED = 3
PANELS = ("a jet", "rotated", "filled", "smeared", "translated", "all")


def pictures(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """One of the test jets and its views; None: no jet is stored."""
    del looks
    known = [entry.results[0].examples for entry in dataset.entries if entry.results and entry.results[0].examples]
    jets = [jet for jet in known[0]["jets"] if jet["pt"]] if known and known[0] else []
    if not jets:
        return None
    jet = jets[-1]
    made = _views(jet, float(dataset.task.settings.get("translation_width", 1.0)))
    figure, axes = panels(len(made), 3.4, 3.2, sharex=True, sharey=True)
    reach = 1.1 * max(float(view.place[view.mask].abs().amax(1).quantile(0.97)) for view in made)
    rows: list[tuple[Any, ...]] = []
    for axis, name, view in zip(axes, PANELS, made, strict=True):
        pt, place, real = view.pt[0].numpy(), view.place[0].numpy(), view.mask[0].numpy()
        new = real & (np.arange(len(real)) >= len(jet["pt"]))
        for chosen, color, marker in ((real & ~new, PALETTE[0], "o"), (new, PALETTE[1], "D")):
            area = np.maximum(LARGEST * pt[chosen] / max(jet["pt"]), 5.0)
            axis.scatter(
                place[chosen, 0], place[chosen, 1], s=area, color=color, marker=marker, alpha=0.75, linewidths=0
            )
        axis.set_title(name, fontsize=11, pad=4)
        axis.set_xlim(-reach, reach)
        axis.set_ylim(-reach, reach)
        axis.set_aspect("equal")
        rows += [(name, *place[slot], pt[slot], bool(new[slot])) for slot in np.flatnonzero(real)]
    figure.supxlabel(rf"$\Delta\eta$ to the jet axis ({in_figure(jet['class'])})", fontsize=12)
    figure.supylabel(r"$\Delta\phi$ to the jet axis", fontsize=12)
    context(figure, dataset, in_margin=True)
    return Drawing(figure, ("view", "deta", "dphi", "pt", "split_off"), rows)


def _views(jet: dict[str, Any], width: float) -> list[View]:
    """The jet, each augmentation alone, and all of them, with as many free slots as splitting wants."""
    number = len(jet["pt"])
    slots = number + number // 2
    pt, place = torch.zeros(1, slots), torch.zeros(1, slots, 2)
    pt[0, :number], place[0, :number] = torch.tensor(jet["pt"]), torch.tensor(jet["coordinates"])
    start = View(pt, place, torch.arange(slots)[None] < number, torch.arange(slots)[None])
    with drawing(torch.device("cpu"), SEED):
        turned, filled = views.rotated(start), views.split(start)
        moved, shifted = views.smeared(start), views.translated(start, width)
        return [start, turned, filled, moved, shifted, views.translated(views.smeared(views.split(turned)), width)]
