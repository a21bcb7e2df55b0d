"""Published checkpoints into our models."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIXES = ("mod.", "module.")
"""Wrapper prefixes of the parameter names in checkpoints of the authors of ParT and of LorentzNet."""


def load_published(model: "nn.Module", path: str | Path, new_head: bool = False) -> str:
    """Load a checkpoint of weaver-core or of LorentzNet's authors, or a plain state dict, into such a model.

    Names may carry the prefix ``mod.`` or ``module.`` and may follow weaver-core 0.5 (``attn.in_proj.weight``), 0.4
    (``attn.in_proj_weight``) or LorentzNet (``LGEBs.0.phi_e.0.weight``). Note that ParT checkpoints of the two versions
    of weaver-core have the same names and shapes but another channel order: build the model with
    ``channel_order="weaver0.5"`` for checkpoints trained with weaver-core 0.5 or later.

    Args:
        model: built with the features and classes of the checkpoint.
        path: file of ``torch.save``; read without unpickling code.
        new_head: what of the head does not fit stays as it is, for another number of classes (fine-tuning).

    Returns:
        One line that says what was loaded, and what is new.

    Raises:
        JetloomError: not a state dict, or any name or shape differs. The model is then unchanged.
    """
    state = own_names(model, _read(Path(path)))
    expected, new = model.state_dict(), list[str]()
    if new_head:
        own, theirs = (
            {name: item.shape for name, item in part.items() if _of_head(name)} for part in (expected, state)
        )
        new = [name for name in own if own[name] != theirs.get(name)]
        state = {name: value for name, value in state.items() if name not in theirs.keys() - own.keys()}
        state |= {name: expected[name] for name in new}
    missing = [name for name in expected if name not in state]
    foreign = [name for name in state if name not in expected]
    if missing or foreign:
        parts = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has unknown {_some(foreign)}"] * bool(foreign)
        raise JetloomError(f"{path} does not fit {type(model).__name__}: {' and '.join(parts)}; nothing was loaded")
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise JetloomError(
                f"{path} does not fit {type(model).__name__}: {name} is {_shape(state[name])} in the file and "
                f"{_shape(value)} in the model; build it with the features, classes and sizes of the checkpoint"
            )
    model.load_state_dict(state)
    number = sum(parameter.numel() for parameter in model.parameters())
    told = f"; new: {', '.join(new)}" if new else ""
    return f"{type(model).__name__}: {len(state) - len(new)} entries, {number:,} parameters from {path}{told}"


def _of_head(name: str) -> bool:
    return name.startswith("head.")


def own_names(model: "nn.Module", state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """A state dict of the authors' code under the names of our model; names that are ours stay."""
    expected, renamed = model.state_dict(), {}
    for name, value in state.items():
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name not in expected:
            for theirs, ours in getattr(model, "published_names", {}).items():
                name = re.sub(theirs, ours, name)
        renamed[name] = value
    return renamed


def _read(path: Path) -> "dict[str, Tensor]":
    import pickle

    import torch

    if not path.is_file():
        raise JetloomError(f"no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise JetloomError(f"{path} is no readable checkpoint of tensors: {reason}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise JetloomError(f"{path} holds no state dict (names and tensors)")
    return state


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _shape(tensor: "Tensor") -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
