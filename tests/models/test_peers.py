"""Attention variants against the public PyTorch ports of their papers, on the same weights."""

import pytest
import torch
from torch import Tensor

from jetloom.models import build
from jetloom.models.layers.lsh_attention import hash_buckets, lsh_attend
from tests.models.jets import random_jets

WIDTH, HEADS, LATENTS, CLASSES = 16, 2, 5, 3


def attention_state(peer: str, layer: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the weights of one attention of perceiver-pytorch, whose projections have no offset."""
    return {
        f"{layer}.attn.in_proj_weight": torch.cat([state[f"{peer}.fn.to_q.weight"], state[f"{peer}.fn.to_kv.weight"]]),
        f"{layer}.attn.in_proj_bias": torch.zeros(3 * WIDTH),
        f"{layer}.attn.out_proj.weight": state[f"{peer}.fn.to_out.weight"],
        f"{layer}.attn.out_proj.bias": state[f"{peer}.fn.to_out.bias"],
        f"{layer}.norm.weight": state[f"{peer}.norm.weight"],
        f"{layer}.norm.bias": state[f"{peer}.norm.bias"],
    }


@torch.no_grad()
@pytest.mark.parametrize("repeats", [1, 2])
def test_perceiver(repeats):
    """Logits of perceiver-pytorch 0.11; feed-forward networks are silenced, since it gates them and we follow ParT."""
    perceiver = pytest.importorskip("perceiver_pytorch")
    torch.manual_seed(3)
    ours = build(
        "perceiver",
        n_features=17,
        n_classes=CLASSES,
        embedding=[WIDTH],
        heads=HEADS,
        latents=LATENTS,
        repeats=repeats,
        self_layers=2,
    ).eval()
    peer = perceiver.Perceiver(
        input_channels=WIDTH,
        input_axis=1,
        fourier_encode_data=False,
        num_freq_bands=1,
        max_freq=1.0,
        depth=repeats,
        self_per_cross_attn=2,
        num_latents=LATENTS,
        latent_dim=WIDTH,
        cross_heads=HEADS,
        cross_dim_head=WIDTH // HEADS,
        latent_heads=HEADS,
        latent_dim_head=WIDTH // HEADS,
        num_classes=CLASSES,
    ).eval()
    for parameter in peer.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    for name, parameter in (*peer.named_parameters(), *ours.named_parameters()):
        if ".net.2." in name or "feed_forward.fc2" in name:
            parameter.zero_()
    theirs = peer.state_dict()
    state = {"latents": theirs["latents"], "head.0.weight": theirs["to_logits.1.weight"]}
    state |= {"head.0.bias": theirs["to_logits.1.bias"]}
    state |= {"head.1.weight": theirs["to_logits.2.weight"], "head.1.bias": theirs["to_logits.2.bias"]}
    for repeat in range(repeats):
        cross = f"layers.{3 * repeat}"
        state |= attention_state(f"layers.{repeat}.cross_attn", cross, theirs)
        for kind in ("weight", "bias"):
            state[f"{cross}.context_norm.{kind}"] = theirs[f"layers.{repeat}.cross_attn.norm_context.{kind}"]
        for inner in range(2):
            layer = f"layers.{3 * repeat + 1 + inner}"
            state |= attention_state(f"layers.{repeat}.self_attns.{inner}.0", layer, theirs)
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert not unexpected and all("embed" in name or "feed_forward" in name for name in missing)

    batch = random_jets(6, 20)
    particles = torch.zeros(6, 20, WIDTH)
    particles[batch.mask] = ours.embed(batch.features[batch.mask], None)
    torch.testing.assert_close(ours(batch), peer(particles, mask=batch.mask), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("rounds", [1, 4])
def test_hashed_attention(rounds, monkeypatch):
    """Output of reformer-pytorch 1.4 wherever no particle is in a round's first chunk.

    There the port lets it look at the last chunk, in a circle and over the borders of the rounds; ours has none before.
    """
    reformer = pytest.importorskip("reformer_pytorch")
    jets, number, chunk = 8, 48, 4
    torch.manual_seed(4)
    query, value = torch.randn(2, jets, number, WIDTH)
    directions = torch.randn(rounds, WIDTH, number // chunk // 2)
    buckets = hash_buckets(query, directions)

    drawn = torch.randn

    def same_directions(*shape, **how):
        """(1, width, rounds, buckets / 2) is how the port draws its directions."""
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        if tuple(wanted)[1:] == (WIDTH, rounds, number // chunk // 2):
            return directions.permute(1, 0, 2)[None].expand(wanted[0], -1, -1, -1)
        return drawn(*shape, **how)

    attention = reformer.LSHAttention(bucket_size=chunk, n_hashes=rounds).eval()
    monkeypatch.setattr(torch, "randn", same_directions)
    theirs, _, their_buckets = attention(query, value)
    monkeypatch.undo()
    # The port numbers the buckets of one round after those of another.
    offsets = (torch.arange(rounds) * (number // chunk))[:, None]
    assert torch.equal(their_buckets.view(jets, rounds, number), buckets + offsets)

    mask = torch.ones(jets, number, dtype=torch.bool)
    ours = lsh_attend(query[:, None], value[:, None], mask, directions, chunk)[:, 0]
    place = (buckets * number + torch.arange(number)).argsort(-1).argsort(-1)
    comparable = (place >= chunk).all(1)
    assert comparable.float().mean() > 0.5
    torch.testing.assert_close(ours[comparable], theirs[comparable], rtol=1e-4, atol=1e-5)
    assert (ours[~comparable] - theirs[~comparable]).abs().max() > 1e-3
