"""Pairs of items: each operation of the kernel and of the formula against loops."""

import pytest
import torch

from jetloom.models import fast
from jetloom.models.layers.item_pairs import ItemPairs

NUMBERS = (3, 0, 1, 4)


def mask() -> torch.Tensor:
    """Not only the first slots are real."""
    real = torch.arange(5) < torch.tensor(NUMBERS)[:, None]
    real[3] = torch.tensor([True, False, True, True, True])
    return real


class Peer:
    """The same on matrices (N, N, D), jet by jet, packed by a loop."""

    def __init__(self, real: torch.Tensor, keeps_padding: bool) -> None:
        self.kept = [torch.ones_like(row) if keeps_padding else row for row in real]

    def pairs(self, jets: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([jet[kept][:, kept].flatten(0, 1) for jet, kept in zip(jets, self.kept, strict=True)])

    def items(self, jets: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([jet[kept] for jet, kept in zip(jets, self.kept, strict=True)])


@pytest.mark.parametrize("kernel", [True, False])
def test_operations_are_those_on_matrices(kernel):
    real = mask()
    generator = torch.Generator().manual_seed(0)
    open_pairs = (real[:, :, None] & real[:, None])[..., None]
    x = list(torch.randn(4, 5, 5, 2, generator=generator, dtype=torch.float64) * open_pairs)
    d = list(torch.randn(4, 5, 2, generator=generator, dtype=torch.float64) * real[..., None])
    with torch.enable_grad() if kernel else fast.off():
        pairs = ItemPairs(real)
        assert (pairs.real is None) == kernel
    peer = Peer(real, keeps_padding=not kernel)
    packed, items = peer.pairs(x), peer.items(d)
    assert len(packed) == (sum(n * n for n in NUMBERS) if kernel else 4 * 5 * 5)
    of_jets = torch.stack([jet.sum(0) for jet in d])
    identity = torch.eye(5, dtype=torch.float64)[..., None]
    expected = {
        "at_row": peer.pairs([jet[:, None].expand(5, 5, 2) for jet in d]),
        "at_column": peer.pairs([jet[None].expand(5, 5, 2) for jet in d]),
        "transposed": peer.pairs([jet.transpose(0, 1) for jet in x]),
        "row_sums": peer.items([jet.sum(1) for jet in x]),
        "column_sums": peer.items([jet.sum(0) for jet in x]),
        "diagonal": peer.items([jet.diagonal().T for jet in x]),
    }
    for name, value in expected.items():
        given = items if name.startswith("at_") else packed
        torch.testing.assert_close(getattr(pairs, name)(given), value)
    torch.testing.assert_close(pairs.jet_sums(items), of_jets)
    torch.testing.assert_close(pairs.at_items(of_jets), peer.items([jet.expand(5, 2) for jet in of_jets]))
    plus = peer.pairs([jet + identity * own[:, None] for jet, own in zip(x, d, strict=True)])
    torch.testing.assert_close(pairs.plus_diagonal(packed, items), plus)
    torch.testing.assert_close(pairs.in_slots(packed), torch.stack(x))
    assert torch.equal(pairs.different(), peer.pairs([identity == 0] * 4))
    assert pairs.number[:, 0].tolist() == [3, 1, 1, 4]
    torch.testing.assert_close(pairs.without_padding(packed + 1), (packed + 1) * peer.pairs(list(open_pairs)))
