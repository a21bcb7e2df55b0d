"""Jets that a generator draws, particle by particle, hardest first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.derived.skims import table_of, write_skim
from jetloom.errors import JetloomError
from jetloom.identity.digests import checksum
from jetloom.models.omnijet import START, OmniJet, Past
from jetloom.models.tokenizer import Tokenizer, vectors_from
from jetloom.tasks.next_token.learn import TokenHead

AT_ONCE = 1000
"""Jets that are drawn together."""
MOST = 0.01
"""Share of the jets from which on jets that are cut are reported, and jets without particles an error."""


class Drawn(NamedTuple):
    """Jets as codes."""

    code: NDArray[np.int64]
    """(n, N)."""
    length: NDArray[np.int64]
    """(n,) particles."""
    ended: NDArray[np.bool_]
    """(n,) whether the generator ended the jet; False: it was cut at N particles."""


def uniforms(jets: int, particles: int, key: list[int]) -> NDArray[np.float64]:
    """(jets, particles + 1) numbers in [0, 1), of a counter-based generator: a jet has its own, of however many jets.

    Args:
        jets, particles: how many, and at most so many of each.
        key: of the numbers.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).random((jets, particles + 1))


@torch.inference_mode()
def draw(
    network: OmniJet,
    numbers: NDArray[np.float64],
    temperature: float = 1.0,
    top_k: int | None = None,
    at_once: int = AT_ONCE,
) -> Drawn:
    """Draw jets from the network's probabilities of the next token; the start token is never drawn.

    Keys and values of earlier tokens are kept: they are final, since a token sees only those before it. A jet that has
    ended takes no more part.

    Args:
        network: with a head of tokens, in evaluation mode.
        numbers: (n, N + 1) in [0, 1); number t of a jet decides on its token t, as a quantile.
        temperature: divides the logits.
        top_k: only the likeliest so many tokens.
        at_once: jets that are drawn together; another number gives the same jets, up to rounding.

    Raises:
        JetloomError: the network is no generator.
    """
    if not isinstance(network.head, TokenHead):
        raise JetloomError("the network is no generator: it was not trained for next_token")
    parts = [
        _drawn(network, part, temperature, top_k) for part in np.split(numbers, range(at_once, len(numbers), at_once))
    ]
    return Drawn(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _drawn(network: OmniJet, numbers: NDArray[np.float64], temperature: float, top_k: int | None) -> Drawn:
    device = next(network.parameters()).device
    jets, longest = len(numbers), numbers.shape[1] - 1
    asked = torch.from_numpy(numbers).to(device)
    code = torch.zeros(jets, longest, dtype=torch.int64, device=device)
    length = torch.full((jets,), longest, device=device)
    ended = torch.zeros(jets, dtype=torch.bool, device=device)
    alive = torch.arange(jets, device=device)
    token = torch.full((jets,), START, device=device)
    past: list[Past | None] = [None] * len(network.blocks)
    for place in range(longest + 1):
        known, past = network.read_next(token, past)
        picked = pick(network.head(known)[:, 1:], asked[alive, place], temperature, top_k)
        ends = picked == network.codes
        length[alive[ends]], ended[alive[ends]] = place, True
        goes_on = ~ends
        if place == longest or not bool(goes_on.any()):
            break
        if bool(ends.any()):
            alive, picked = alive[goes_on], picked[goes_on]
            past = [item and Past(item.key[goes_on], item.value[goes_on]) for item in past]
        code[alive, place] = picked
        token = picked + 1
    return Drawn(code.cpu().numpy(), length.cpu().numpy(), ended.cpu().numpy())


def pick(logits: Tensor, numbers: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """(B,) tokens at quantiles (B,) of the probabilities that logits (B, T) say."""
    logits = logits.double() / temperature
    if top_k is not None and top_k < logits.shape[1]:
        least = logits.topk(top_k, 1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    reached = logits.softmax(1).cumsum(1)
    # Of rounding the last sum may be less than 1.
    picked = torch.searchsorted(reached, numbers[:, None].double() * reached[:, -1:], right=True)[:, 0]
    return picked.clamp(max=logits.shape[1] - 1)


def generate(
    network: OmniJet,
    checkpoint: Path,
    tokenizer: Tokenizer,
    of_tokenizer: Path,
    longest: int,
    jets: int,
    key: list[int],
    classes: list[str],
    temperature: float,
    top_k: int | None,
    output: Path,
) -> None:
    """Write jets that a generator draws, as codes and as what these stand for; the axis is at eta = phi = 0.

    Args:
        network: the generator.
        checkpoint: where it comes from.
        tokenizer: whose codes it draws.
        of_tokenizer: where that comes from.
        longest: particles of a jet, at most.
        jets: how many.
        key: of the random numbers.
        classes: of the data set; all jets have the first one.
        temperature, top_k: of the drawing.
        output: Parquet file.

    Raises:
        JetloomError: the tokenizer has other codes, or more than 1 % of the jets have no particle.
    """
    if network.codes != tokenizer.codes:
        raise JetloomError(
            f"{checkpoint}: a generator of {network.codes} codes, but {of_tokenizer} has {tokenizer.codes}; take the "
            "tokenizer that made its tokens"
        )
    facts: dict[str, Any] = {
        "classes": classes,
        "made_from": {"generator": checksum(checkpoint), "tokenizer": checksum(of_tokenizer), "key": key},
        "codes": tokenizer.codes,
        "jets_read": jets,
    }
    drawn = draw(network, uniforms(jets, longest, key), temperature, top_k)
    cut, empty = float(1 - drawn.ended.mean()), float((drawn.length == 0).mean())
    facts |= {"cut": cut, "empty": empty}
    if empty > MOST:
        raise JetloomError(f"{checkpoint}: {empty:.1%} of the generated jets have no particle; train it longer")
    write_skim(output, _tables(tokenizer, drawn), facts)
    note = "; more than expected: train it longer, or on longer jets" if cut > MOST else ""
    print(f"{jets:,} jets; {cut:.2%} cut at {longest} particles{note}; {empty:.2%} without a particle, left out")


@torch.inference_mode()
def _tables(tokenizer: Tokenizer, drawn: Drawn) -> Iterator[pa.Table]:
    device = next(tokenizer.parameters()).device
    for start in range(0, len(drawn.code), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        code = torch.from_numpy(drawn.code[part]).to(device)
        kept = torch.arange(code.shape[1], device=device) < torch.from_numpy(drawn.length[part]).to(device)[:, None]
        zero = torch.zeros(len(code), 1, device=device)
        vectors = vectors_from(tokenizer.decode(code, kept).float(), zero, zero)
        label = np.zeros(len(code), np.int8)
        yield table_of(vectors.cpu().numpy(), kept.cpu().numpy(), code.cpu().numpy(), label)
