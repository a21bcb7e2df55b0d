"""Optimisers, their parameter groups and the learning-rate schedules."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

from jetloom.config import Training
from jetloom.models.network import Network
from jetloom.training.flat_ranger import BETA1, BETA2, EPS, FlatRanger
from jetloom.training.freezing import depths

KEPT = ("bias", "cls_token", "centres", "codebook.scale")
"""Endings of the names of parameters that do not decay, whatever their dimensions."""
FINAL_RATE = 0.01
"""flat_decay ends at this part of the rate."""
DECAY_PART = 0.3
"""flat_decay falls over this part of the epochs."""
FIRST_CYCLE = 4
"""restarts: epochs of the first cosine; each next one is twice as long (LorentzNet)."""
HALVED = 4
"""restarts: the last epochs, each with half the rate of the one before."""
STEP_JETS, STEP_FACTOR, LOWEST_STEP = 5_000_000, 0.7, 1e-3
"""steps: the rate is multiplied so after so many jets, down to this part of it (PCT)."""


class Ranger(optim.RAdam):
    """Lookahead (k = 6, alpha = 0.5, arXiv:1907.08610) around RAdam (arXiv:1908.03265), the recipe of ParT.

    The slow weights are optimiser state like the moments, so a checkpoint holds them and a resumed run is exact. Weight
    decay is decoupled.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float, every: int = 6, alpha: float = 0.5) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=(BETA1, BETA2),
            eps=EPS,
            weight_decay=weight_decay,
            decoupled_weight_decay=True,
            foreach=True,
        )
        self.every, self.alpha = every, alpha

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One RAdam step; every ``every``-th one ends with slow += alpha (fast - slow), fast = slow."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        # Now that the gradients are there: a frozen parameter has none, and no state.
        fast = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for p in fast:
            if "slow" not in self.state[p]:
                # Made here and not in RAdam's own initialisation, which it skips for a state that is not empty.
                self.state[p] |= {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
                    "slow": p.detach().clone(memory_format=torch.preserve_format),
                    "steps": 0,
                }
        super().step()
        for p in fast:
            self.state[p]["steps"] += 1
        if due := [p for p in fast if self.state[p]["steps"] % self.every == 0]:
            slow = [self.state[p]["slow"] for p in due]
            torch._foreach_lerp_(slow, due, self.alpha)
            torch._foreach_copy_(due, slow)
        return result

    @torch.no_grad()
    def take_weights(self) -> None:
        """Make the slow weights those that the model has now; to be called when other weights were put into it."""
        for p, state in self.state.items():
            state["slow"].copy_(p)


def parameter_groups(model: Network, training: Training) -> list[dict[str, Any]]:
    """Parameters by weight decay and learning rate.

    Biases, norms, other 1-d parameters, class tokens and codebooks do not decay. The last layer learns
    ``head_learning_rate_factor`` times as fast, a block of the encoder ``layer_decay`` times as fast as the one behind
    it (:func:`jetloom.training.freezing.blocks`). What is frozen throughout is in no group.
    """
    faster = training.head_learning_rate_factor != 1
    in_last = {id(p) for p in model.last.parameters()} if faster else set()
    depth = depths(model) if training.layer_decay != 1 else {}
    groups: dict[tuple[bool, bool, int], list[Tensor]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            decays = p.ndim > 1 and not name.endswith(KEPT)
            groups.setdefault((decays, id(p) in in_last, depth.get(id(p), 0)), []).append(p)
    return [
        {
            "params": params,
            "weight_decay": training.weight_decay if decays else 0.0,
            "peak": training.learning_rate
            * (training.head_learning_rate_factor if fast else 1.0)
            * training.layer_decay**blocks,
        }
        for (decays, fast, blocks), params in groups.items()
    ]


def build_optimiser(model: Network, training: Training, recorded: bool = False) -> optim.Optimizer:
    """The optimiser of a recipe.

    Args:
        model: where it is trained.
        training: recipe.
        recorded: its steps are, on a GPU and without Lightning; rate and counters must lie there.
    """
    groups = parameter_groups(model, training)
    rate, decay = training.learning_rate, training.weight_decay
    # A fused step unscales 16-bit gradients itself, after they would have been clipped; Lightning refuses bf16 too.
    fused = recorded or training.gradient_clip is None or training.precision in ("32", "tf32")
    if training.optimizer == "ranger":
        on_gpu = any(p.is_cuda for p in model.parameters())
        return (FlatRanger if on_gpu else Ranger)(groups, lr=rate, weight_decay=decay)
    if recorded:
        groups = [
            group | {"lr": torch.full((), rate, device=group["params"][0].device), "capturable": True}
            for group in groups
        ]
    if training.optimizer == "adam":
        # eps as in Keras, whose Adam the SAL-T recipe means.
        return optim.Adam(groups, lr=rate, eps=1e-7, decoupled_weight_decay=True, fused=fused)
    return optim.AdamW(groups, lr=rate, weight_decay=decay, fused=fused)


def take_state(optimiser: optim.Optimizer, saved: dict[str, Any]) -> None:
    """Go on from the ``state_dict`` of an optimiser of the same recipe, on whatever device that one was.

    Its settings do not count: where rate and counters lie is this device's.
    """
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": saved["state"], "param_groups": groups})


def rate_factor(training: Training, epochs: int, epoch: int, fraction: float, jets: int = 0) -> float:
    """Learning rate over the highest one, at a point of the training.

    Args:
        training: the recipe.
        epochs: epochs in all.
        epoch: the current one, from 0.
        fraction: part of the epoch that is done, in [0, 1).
        jets: seen before this point, by all devices.
    """
    done = (epoch + fraction) / epochs
    if done < training.warmup_fraction:
        return done / training.warmup_fraction
    match training.schedule:
        case "constant":
            return 1.0
        case "cosine":
            after = (done - training.warmup_fraction) / (1 - training.warmup_fraction)
            return 0.5 * (1 + math.cos(math.pi * after))
        case "flat_decay":
            decaying = int(DECAY_PART * epochs)
            # By epochs, not by steps: the factor falls at the start of each of the last epochs.
            return FINAL_RATE ** (max(0, epoch - (epochs - decaying) + 1) / decaying) if decaying else 1.0
        case "restarts":
            tail = epochs - HALVED
            halvings = max(0, epoch - tail + 1)
            whole = _restarting_cosine(min(epoch + fraction, tail) - training.warmup_fraction * epochs)
            return whole / float(2**halvings)
        case "steps":
            return max(STEP_FACTOR ** (jets // STEP_JETS), LOWEST_STEP)


def _restarting_cosine(epochs: float) -> float:
    """Cosine with warm restarts (SGDR, arXiv:1608.03983), so many epochs after its start."""
    length = FIRST_CYCLE
    while epochs >= length:
        epochs, length = epochs - length, 2 * length
    return 0.5 * (1 + math.cos(math.pi * epochs / length))


def set_rate(optimiser: optim.Optimizer, factor: float) -> None:
    """Give each group its peak rate times a factor."""
    for group in optimiser.param_groups:
        rate = group["peak"] * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
