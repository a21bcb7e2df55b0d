"""What an evaluation is made from, as far as a configuration decides it."""

from collections.abc import Iterable, Mapping

from jetloom.catalogue.cards import task_card
from jetloom.config import Evaluation, read_by
from jetloom.identity.code import fingerprint
from jetloom.identity.digests import digest

CODE = "jetloom.evaluation.evaluate"
"""Module whose fingerprint, without that of the models, is that of the evaluation's code."""


def setting_part(settings: Evaluation, background: str | None, working_points: Mapping[str, float]) -> str:
    """Digest of the settings of an evaluation and of what the data set says for it."""
    read = settings.model_dump(mode="json", include=read_by(Evaluation, "evaluation"))
    return digest(read, background, dict(working_points))


def evaluation_fingerprint(tasks: Iterable[str]) -> str:
    """Hash of the code that evaluates some tasks; what they have learnt is in the checkpoint."""
    measures = [task_card(name).measures for name in tasks]
    return fingerprint(CODE, *(module for module in measures if module), without="jetloom.models")
