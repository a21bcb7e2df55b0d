"""Models of weaver-core of one version or another."""

import importlib
from pathlib import Path
from typing import Any

import torch

from tests.support import peer


def ask(directory: Path | None, **request: Any) -> dict[str, Any]:
    """State dict, logits and the rest of the answer of a weaver-core model; with steps the last one's gradients too.

    Args:
        directory: where weaver-core was unpacked; None: the installed one.
        request: module, name and arguments of the model; inputs, a tuple of tensors; steps of training before the
            answer, with label, on the same jets; noise added to all parameters at first.
    """
    return peer.ask(directory, _answer, request)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(request.get("seed", 0))
    model_class = getattr(importlib.import_module(request["module"]), request["name"])
    model = model_class(**request["arguments"])
    inputs, keywords = request["inputs"], request.get("keywords", {})
    noise = request.get("noise", 0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn_like(parameter)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(request.get("steps", 0)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs, **keywords), request["label"]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(*inputs, **keywords)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: item.grad for name, item in model.named_parameters() if item.grad is not None}
    count = sum(item.numel() for item in model.parameters())
    return {"state": state, "logits": logits, "parameters": count, "gradients": gradients}
