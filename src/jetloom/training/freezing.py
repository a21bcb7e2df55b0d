"""An encoder that does not learn, and one that learns the slower the further a block is from the head."""

from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter

from jetloom.models.network import Network


def let_learn(network: Network, encoder: bool) -> None:
    """Whether everything but the head learns.

    A frozen encoder is as it is where it predicts: no gradients, no dropout, and batch normalisations by the statistics
    that they have, which stay.

    Args:
        network: in training.
        encoder: False: frozen.
    """
    for name, parameter in network.named_parameters():
        if not _of_head(name):
            parameter.requires_grad_(encoder)
    for name, module in network.named_children():
        if not _of_head(name):
            module.train(encoder)


def depths(network: Network) -> dict[int, int]:
    """Distance of each parameter (by its ``id``) from the head: 0 in the head, 1 in the last block of the encoder."""
    found = [block for block in blocks(network) if block]
    return {id(parameter): 0 for parameter in network.head.parameters()} | {
        id(parameter): len(found) - place for place, block in reversed(list(enumerate(found))) for parameter in block
    }


def blocks(network: Network) -> list[list[Parameter]]:
    """Parameters of the encoder's blocks, from the particles to the head.

    The parts of the network are its blocks, in the order in which it defines them and each item of a list by itself; a
    part called ``readout`` comes last. What holds no matrix is no block: normalisations belong to the layer before (the
    first ones to the layer behind), a list of them item by item to a list of as many layers before. Parameters of the
    network itself, such as latent vectors, belong to the first block.
    """
    found: list[list[Parameter]] = []
    waiting, before = list(network.parameters(recurse=False)), found
    for part in _parts(network):
        own = [parameters for item in _items(part) if (parameters := list(item.parameters()))]
        layers = [any(parameter.ndim > 1 for parameter in parameters) for parameters in own]
        if not any(layers) and len(own) == len(before):
            for block, parameters in zip(before, own, strict=True):
                block += parameters
            continue
        before = []
        for parameters, is_layer in zip(own, layers, strict=True):
            if is_layer:
                before.append(waiting + parameters)
                found.append(before[-1])
                waiting = []
            else:
                (found[-1] if found else waiting).extend(parameters)
    # A network without layers: all that it has is one block.
    return found if found or not waiting else [waiting]


def _parts(network: Network) -> Iterator[nn.Module]:
    named = [(name, part) for name, part in network.named_children() if not _of_head(name)]
    yield from (part for name, part in named if name != "readout")
    yield from (part for name, part in named if name == "readout")


def _items(part: nn.Module) -> list[nn.Module]:
    return list(part) if isinstance(part, nn.ModuleList | nn.Sequential) else [part]


def _of_head(name: str) -> bool:
    return name.split(".")[0] == "head"
