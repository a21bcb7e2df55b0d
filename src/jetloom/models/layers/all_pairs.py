"""Networks on all ordered pairs of different particles of a jet."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import all_pairs as kernel
from jetloom.models.layers.packing import Packing


def sum_over_senders(network: nn.Sequential, x: Tensor, packing: Packing) -> Tensor:
    """sum_{j != i} f([x_i, x_j]) of each receiver i, over the other real particles j of its jet.

    The first layer of f is linear: W [x_i, x_j] + b = (W_1 x_i + b) + W_2 x_j, both per particle.

    Args:
        network: f, a linear layer of 2 D inputs and what follows.
        x: (n, D), packed.
        packing: of the particles.

    Returns:
        (n, D'), 0 of a particle that is alone.
    """
    first, *others = network
    assert isinstance(first, nn.Linear)
    to_receiver, to_sender = first.weight.chunk(2, 1)
    receiver, sender = functional.linear(x, to_receiver, first.bias), functional.linear(x, to_sender)

    def rest(message: Tensor) -> Tensor:
        for layer in others:
            message = layer(message)
        return message

    if kernel.serves(packing.mask, packing.length is not None):
        return kernel.sum_over_senders(rest, receiver, sender, packing.mask, packing.length)
    return _of_slots(rest, receiver, sender, packing.mask)


def _of_slots(rest: Callable[[Tensor], Tensor], receiver: Tensor, sender: Tensor, mask: Tensor) -> Tensor:
    """The sum over all slots (B, N, N) with the closed ones set to zero."""
    batch, number = mask.shape
    message = rest(receiver.view(batch, number, 1, -1) + sender.view(batch, 1, number, -1))
    open_pairs = mask[:, :, None] & mask[:, None] & ~torch.eye(number, dtype=torch.bool, device=mask.device)
    return message.masked_fill(~open_pairs[..., None], 0.0).sum(2).flatten(0, 1)
