"""Published checkpoints into our models."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from torch import Tensor

    from jetloom.models.network import Network

PREFIXES = ("mod.", "module.")
"""Wrapper prefixes of the parameter names in checkpoints of the authors of ParT, LorentzNet and OmniJet-alpha."""


def load_published(model: "Network", path: str | Path, new_head: bool = False) -> str:
    """Load a checkpoint of the authors of a network, or a plain state dict, into such a model.

    Names may carry the prefix ``mod.`` or ``module.`` and may follow weaver-core 0.5 (``attn.in_proj.weight``), 0.4
    (``attn.in_proj_weight``) or whatever ``published_names`` of the network says. Note that ParT checkpoints of the two
    versions of weaver-core have the same names and shapes but another channel order: build the model with
    ``channel_order="weaver0.5"`` for checkpoints trained with weaver-core 0.5 or later.

    Every entry of the file is taken, or is one of ``published_extra``; every entry of the model is filled, or is one of
    ``published_without``.

    Args:
        model: built with the features and classes of the checkpoint.
        path: file of ``torch.save`` or of safetensors; read without unpickling code.
        new_head: what of the head does not fit stays as it is, for another number of classes (fine-tuning).

    Returns:
        One line that says what was loaded, what of the file was left out, and what is new.

    Raises:
        JetloomError: not a state dict, or any name or shape differs. The model is then unchanged.
    """
    from jetloom.models.weights import read_weights

    given = read_weights(Path(path))
    named = renamed(model, given)
    problem = f"{path} does not fit {type(model).__name__}"
    number = Counter(named.values())
    if twice := [name for name, own in named.items() if number[own] > 1]:
        raise JetloomError(f"{problem}: {_some(twice)} would be the same; nothing was loaded")
    state, left = {own: given[name] for name, own in named.items()}, [name for name in given if name not in named]
    expected = model.state_dict()
    new = [name for name in expected if name in model.published_without and name not in state]
    if new_head:
        own, theirs = (
            {name: item.shape for name, item in part.items() if _of_head(name)} for part in (expected, state)
        )
        new = [name for name in expected if name in new or (name in own and own[name] != theirs.get(name))]
        lost = [name for name in theirs if name not in own]
        left += lost
        state = {name: value for name, value in state.items() if name not in lost}
    state |= {name: expected[name] for name in new}
    missing = [name for name in expected if name not in state]
    foreign = [name for name in state if name not in expected]
    if missing or foreign:
        parts = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has unknown {_some(foreign)}"] * bool(foreign)
        raise JetloomError(f"{problem}: {' and '.join(parts)}; nothing was loaded")
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise JetloomError(
                f"{problem}: {name} is {_shape(state[name])} in the file and {_shape(value)} in the model; "
                "build it with the features, classes and sizes of the checkpoint"
            )
    model.load_state_dict(state)
    size = sum(parameter.numel() for parameter in model.parameters())
    told = f"; left out: {_some(left)}" * bool(left) + f"; new: {', '.join(new)}" * bool(new)
    return f"{type(model).__name__}: {len(state) - len(new)} entries, {size:,} parameters from {path}{told}"


def _of_head(name: str) -> bool:
    return name.startswith("head.")


def own_names(model: "Network", state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """A state dict of the authors' code under the names of our model."""
    return {own: state[theirs] for theirs, own in renamed(model, state).items()}


def renamed(model: "Network", state: "dict[str, Tensor]") -> dict[str, str]:
    """Names of our model by those of the authors' code; names that are ours stay, ``published_extra`` are left out."""
    expected, found = model.state_dict(), {}
    for name in state:
        own = name
        for prefix in PREFIXES:
            own = own.removeprefix(prefix)
        if own not in expected:
            if any(re.search(pattern, own) for pattern in model.published_extra):
                continue
            for theirs, ours in model.published_names.items():
                own = re.sub(theirs, ours, own)
        found[name] = own
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _shape(tensor: "Tensor") -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
