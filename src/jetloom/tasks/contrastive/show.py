"""What the report shows of a contrastive pre-training."""

from functools import partial
from typing import ClassVar

from jetloom.results.collection import DataSet
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.contrastive.figures import pictures
from jetloom.tasks.probed import Probed
from jetloom.tasks.shows import Kind, Metric, enumerated

DEFAULT = ("rotation", "splitting", "smearing")


class Contrastive(Probed):
    """Probes, views found again, and the views themselves."""

    curves: ClassVar = {
        "loss": "NT-Xent loss", "accuracy": "Partners found", "alignment": "Alignment", "uniformity": "Uniformity",
    }  # fmt: skip
    figures: ClassVar = {
        "views": Kind(
            pictures,
            "Views of a jet",
            "One of the test jets and what the augmentations make of it, alone and together; area: pT, diamonds: parts "
            "that were split off. The encoder learns to say the same of the views of a jet and something else of other "
            "jets. Here it saw: {augmentations}.",
            leads=True,
        )
    }

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Probes first, then how well views are found again."""
        return [
            *super().metrics(dataset),
            Metric("partner_accuracy", "Partners found", "higher", partial(over_seeds, name="partner_accuracy"),
                   "partner_accuracy", "views whose nearest one of a batch is the other view of the jet"),
            Metric("alignment", "Alignment", "lower", partial(over_seeds, name="alignment"), "alignment",
                   "squared distance of the two views of a jet on the unit sphere", shown=False),
        ]  # fmt: skip

    def words(self, dataset: DataSet) -> dict[str, str]:
        """The augmentations of the training."""
        return {"augmentations": enumerated(list(dataset.task.settings.get("augmentations") or DEFAULT))}


SHOW = Contrastive()
