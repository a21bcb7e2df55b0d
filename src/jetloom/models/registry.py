"""From a name to a model. A row of the registry is a file in ``catalogue/models/``: a class, and what it fixes."""

from typing import TYPE_CHECKING, Any

from jetloom.catalogue.cards import load_class, model_card
from jetloom.catalogue.options import check_options, defaults
from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from jetloom.models.network import Network


def build(
    name: str,
    *,
    n_features: int,
    n_classes: int,
    max_particles: int | None = None,
    preset: str | None = None,
    **options: Any,
) -> "Network":
    """Build an architecture with fresh weights.

    Args:
        name: row of the registry (``jetloom models`` lists them).
        n_features: width F of ``Batch.features``; of codes how many there are.
        n_classes: number of logits C.
        max_particles: longest input; architectures with a fixed length take it as their length. None: the published
            length of the preset or, where that has none, of the class.
        preset: named size; without one the defaults of row and class (the published architecture) hold.
        options: keyword arguments of the class, over the preset's; those that the row fixes have no other value.

    Raises:
        JetloomError: unknown name, preset or option, or an option of the wrong type.
    """
    card = model_card(name)
    if preset is not None and preset not in card.presets:
        raise JetloomError(f"{name} has no preset {preset!r}; allowed: {', '.join(card.presets)}")
    values = options
    if preset is not None:
        values = card.presets[preset].options | options
        if max_particles is None:
            max_particles = card.presets[preset].max_particles
    if max_particles is not None and "max_particles" in defaults(name):
        values = {"max_particles": max_particles} | values
    model_class = load_class(card.class_path)
    model: Network = model_class(n_features, n_classes, **(defaults(name) | check_options(name, values, name)))
    return model
