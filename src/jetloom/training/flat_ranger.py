"""The recipe of :class:`jetloom.training.optimisers.Ranger` in a few kernels, for a GPU.

Parameters are many and small: torch's RAdam asks the host for a dozen numbers for each of them, and Lookahead for one
more. Here all parameters of a group lie end to end in one buffer, and so do their moments and slow weights. What
depends on the step and on the learning rate is worked out once by the host and sent to the device, on which the step
itself is the same kernels on the same memory each time: it can be captured in a CUDA graph.
"""

import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, optim

BETA1, BETA2, EPS = 0.95, 0.999, 1e-5
BUFFERS = ("exp_avg", "exp_avg_sq", "slow")


class _Cohort:
    """Parameters of a group that have done equally many steps.

    Args:
        params: of one group, one type and one device.
        state: of each; empty at the first step. From now on its tensors are parts of the buffers.
    """

    def __init__(self, params: list[Tensor], state: dict[Tensor, dict[str, Any]]) -> None:
        self.params = params
        self.steps = state[params[0]].get("steps", 0)
        self.fast = _end_to_end(params)
        self.parts = [part.view(p.shape) for part, p in zip(self._split(self.fast), params, strict=True)]
        self.numbers = self.fast.new_zeros(5)
        """What the next step multiplies with: decay of the weights, both parts of RAdam's step, Lookahead's two."""
        self.buffers = {}
        for name in BUFFERS:
            if self.steps:
                buffer = _end_to_end(state[p][name] for p in params)
            else:
                buffer = self.fast.clone() if name == "slow" else torch.zeros_like(self.fast)
            self.buffers[name] = buffer
            for p, part in zip(params, self._split(buffer), strict=True):
                state[p][name] = part.view(p.shape)

    def _split(self, flat: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = flat.split([p.numel() for p in self.params])
        return parts

    def plan(self, rate: float, decay: float, every: int, alpha: float) -> None:
        """Set ``numbers`` for the next step.

        p <- p (1 - lr lambda) - lr m^ (r sqrt(1 - beta2^t) / (sqrt(v) + eps), or 1 while r is not defined), where
        m^ = m / (1 - beta1^t) and r is the rectification (arXiv:1908.03265, algorithm 2).
        """
        self.steps += 1
        t = self.steps
        longest = 2 / (1 - BETA2) - 1
        length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
        size = -rate / (1 - BETA1**t)
        rectified, plain = 0.0, size
        if length > 5:
            r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            rectified, plain = size * r * math.sqrt(1 - BETA2**t), 0.0
        due = t % every == 0
        numbers = [1 - rate * decay, rectified, plain, alpha * due, 1.0 * due]
        gpu = self.fast.device.type == "cuda"
        host = torch.tensor(numbers, dtype=self.fast.dtype, pin_memory=gpu)
        self.numbers.copy_(host, non_blocking=gpu)

    def step(self) -> None:
        """One step with these numbers."""
        decay, rectified, plain, slowly, due = self.numbers.unbind()
        # A network may have changed its weights itself, as a codebook does.
        torch._foreach_copy_(self.parts, self.params)
        gradient = _end_to_end([p.grad for p in self.params if p.grad is not None])
        first, second, slow = (self.buffers[name] for name in BUFFERS)
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        step = second.sqrt().add_(EPS).reciprocal_().mul_(rectified).add_(plain)
        self.fast.mul_(decay).addcmul_(first, step)
        # slow += alpha (fast - slow), fast = slow; or nothing.
        slow.lerp_(self.fast, slowly)
        self.fast.lerp_(slow, due)
        torch._foreach_copy_(self.params, self.parts)


class FlatRanger(optim.Optimizer):
    """Lookahead around RAdam with decoupled weight decay; the state of a parameter is that of Ranger.

    Args:
        params: parameters or groups.
        lr, weight_decay: of a group that does not say them.
        every, alpha: of Lookahead.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float, every: int = 6, alpha: float = 0.5) -> None:
        # Those of RAdam, so that each can go on from a checkpoint of the other.
        settings = {"betas": (BETA1, BETA2), "eps": EPS, "decoupled_weight_decay": True, "foreach": True}
        settings |= dict.fromkeys(("maximize", "capturable", "differentiable"), False)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **settings})
        self.every, self.alpha = every, alpha
        self._cohorts: list[list[_Cohort]] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the parameters that have a gradient; while it is recorded, nothing is planned.

        Raises:
            RuntimeError: others learn in a step that is recorded than in the one before.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        recorded = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        learning = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        if [{id(p) for cohort in cohorts for p in cohort.params} for cohorts in self._cohorts] != [
            set(map(id, params)) for params in learning
        ]:
            if recorded:
                raise RuntimeError("other parameters learn than in the step before")
            self._settle()
            self._cohorts = [list(self._grouped(params)) for params in learning]
        if not recorded:
            self.plan()
        for cohort in chain(*self._cohorts):
            cohort.step()
        return result

    def plan(self) -> None:
        """What the host does for a step; before one that was recorded is played back, all that it does."""
        for group, cohorts in zip(self.param_groups, self._cohorts, strict=True):
            for cohort in cohorts:
                cohort.plan(group["lr"], group["weight_decay"], self.every, self.alpha)

    def _grouped(self, params: list[Tensor]) -> Iterable[_Cohort]:
        by_steps: dict[int, list[Tensor]] = {}
        for p in params:
            by_steps.setdefault(self.state[p].get("steps", 0), []).append(p)
        return [_Cohort(some, self.state) for some in by_steps.values()]

    def _settle(self) -> None:
        """Note in the state of each parameter how many steps it has done."""
        for cohort in chain(*self._cohorts):
            for p in cohort.params:
                self.state[p] |= {"steps": cohort.steps, "step": torch.tensor(float(cohort.steps))}

    def state_dict(self) -> dict[str, Any]:
        """As Ranger's."""
        self._settle()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of either."""
        self._cohorts = []
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def take_weights(self) -> None:
        """Make the slow weights those that the model has now; to be called when others were put into it."""
        for p, state in self.state.items():
            state["slow"].copy_(p)


def _end_to_end(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([x.detach().reshape(-1) for x in tensors])
