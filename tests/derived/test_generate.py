"""Drawing jets: the probabilities of the network, whatever is drawn together with what."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import chisquare

from jetloom.derived.generate import Drawn, draw, generate, pick, uniforms
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.omnijet import OmniJet
from jetloom.models.tokenizer import Tokenizer, vectors_from
from jetloom.tasks.next_token.learn import NextToken
from jetloom.tasks.task import Data

CODES, LONGEST = 12, 16


def generator(stop: float = 0.0, start: float = 0.0, codes: int = CODES) -> OmniJet:
    """Whose probabilities depend on all tokens so far; what the head adds to start and stop."""
    torch.manual_seed(8)
    network = build("omnijet", n_features=codes, n_classes=2, width=16, blocks=2, heads=2)
    assert isinstance(network, OmniJet)
    NextToken(Data(["a"], [], kind="tokens", max_particles=LONGEST, codes=codes)).attach(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        network.head.token.weight *= 1.5
        network.head.token.bias[0] += start
        network.head.token.bias[-1] += stop
    return network.eval()


def same(one: Drawn, two: Drawn) -> bool:
    return all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))


def first_probabilities(network: OmniJet, temperature: float = 1.0) -> np.ndarray:
    """Of codes and the end, in double precision."""
    with torch.no_grad():
        logits = network.head(network.read(torch.tensor([[0]])))[0, 0, 1:].double()
    return (logits / temperature).softmax(0).numpy()


@pytest.fixture(scope="module")
def network() -> OmniJet:
    return generator(stop=0.5)


def test_jets_do_not_depend_on_what_is_drawn_together(network: OmniJet) -> None:
    numbers = uniforms(200, LONGEST, [1, 2])
    whole = draw(network, numbers, at_once=200)
    assert len(set(whole.length.tolist())) > 8 and {True, False} == set(whole.ended.tolist())
    for at_once in (7, 50, 201):
        assert same(draw(network, numbers, at_once=at_once), whole)
    order = np.random.default_rng(1).permutation(200)
    assert same(draw(network, numbers[order]), Drawn(*(column[order] for column in whole)))
    some = draw(network, numbers[:30])
    assert same(some, Drawn(*(column[:30] for column in whole)))


def test_keys() -> None:
    numbers = uniforms(300, 9, [4, 1])
    assert numbers.shape == (300, 10) and numbers.dtype == np.float64
    assert (numbers >= 0).all() and (numbers < 1).all() and len(np.unique(numbers)) == 3000
    assert np.array_equal(numbers, uniforms(300, 9, [4, 1]))
    assert np.array_equal(numbers[:20], uniforms(20, 9, [4, 1])), "those of a jet do not depend on the number of jets"
    for other in ([4, 2], [5, 1], [4], [1, 4]):
        assert not np.isin(uniforms(300, 9, other), numbers).any()


def test_another_key_gives_other_jets(network: OmniJet) -> None:
    one, two = (draw(network, uniforms(100, LONGEST, [1, key])) for key in (1, 2))
    assert same(one, draw(network, uniforms(100, LONGEST, [1, 1])))
    assert (one.code != two.code).any(1).mean() > 0.9


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_first_tokens_have_the_probabilities_of_the_network(network: OmniJet, temperature: float) -> None:
    drawn = draw(network, uniforms(20_000, 1, [3]), temperature, at_once=20_000)
    first = np.where(drawn.length == 0, CODES, drawn.code[:, 0])
    counts = np.bincount(first, minlength=CODES + 1)
    expected = first_probabilities(network, temperature) * 20_000
    assert chisquare(counts, expected).pvalue > 1e-3
    other = first_probabilities(network, 1.5 if temperature == 1 else 1.0) * 20_000
    assert chisquare(counts, other).pvalue < 1e-6
    assert drawn.ended[drawn.length == 0].all()


def test_later_tokens_have_the_probabilities_behind_those_before(network: OmniJet) -> None:
    """Second tokens of the jets that have one first code, by the pass over the whole jet."""
    drawn = draw(network, uniforms(20_000, 2, [5]), at_once=20_000)
    code = int(np.bincount(drawn.code[drawn.length > 0, 0]).argmax())
    chosen = (drawn.length > 0) & (drawn.code[:, 0] == code)
    second = np.where(drawn.length == 1, CODES, drawn.code[:, 1])[chosen]
    with torch.no_grad():
        logits = network.head(network.read(torch.tensor([[0, code + 1]])))[0, -1, 1:].double()
    expected = logits.softmax(0).numpy() * chosen.sum()
    assert chosen.sum() > 2000
    assert chisquare(np.bincount(second, minlength=CODES + 1), expected).pvalue > 1e-3


def test_the_start_is_never_drawn() -> None:
    numbers = uniforms(200, LONGEST, [1])
    likely = draw(generator(stop=0.5, start=50.0), numbers)
    assert same(likely, draw(generator(stop=0.5), numbers))
    assert likely.code.min() == 0 and likely.code.max() == CODES - 1


def greedy(network: OmniJet, longest: int) -> tuple[list[int], bool]:
    """The likeliest token after the other, each by the pass over the whole jet."""
    tokens = [0]
    with torch.no_grad():
        while True:
            logits = network.head(network.read(torch.tensor([tokens])))[0, -1]
            token = int(logits[1:].argmax()) + 1
            if token == network.codes + 1:
                return [item - 1 for item in tokens[1:]], True
            if len(tokens) == longest + 1:
                return [item - 1 for item in tokens[1:]], False
            tokens.append(token)


@pytest.mark.parametrize("stop", [-2.0, 0.0, 1.0, 2.0, 4.0])
def test_only_the_likeliest_token_is_greedy(stop: float) -> None:
    network = generator(stop)
    code, ended = greedy(network, LONGEST)
    drawn = draw(network, uniforms(5, LONGEST, [6]), top_k=1)
    assert drawn.length.tolist() == [len(code)] * 5 and drawn.ended.tolist() == [ended] * 5
    assert drawn.code[:, : len(code)].tolist() == [code] * 5
    cold = draw(network, uniforms(5, LONGEST, [6]), temperature=1e-4)
    assert same(cold, drawn)


@pytest.mark.parametrize("top_k", [2, 5, 100])
def test_only_some_of_the_likeliest_tokens(network: OmniJet, top_k: int) -> None:
    drawn = draw(network, uniforms(20_000, 1, [7]), top_k=top_k, at_once=20_000)
    counts = np.bincount(np.where(drawn.length == 0, CODES, drawn.code[:, 0]), minlength=CODES + 1)
    expected = first_probabilities(network)
    taken = np.argsort(-expected)[:top_k]
    assert counts.sum() == counts[taken].sum()
    assert chisquare(counts[taken], expected[taken] / expected[taken].sum() * 20_000).pvalue > 1e-3


def test_a_jet_that_never_ends_is_cut_and_says_so() -> None:
    drawn = draw(generator(stop=-1e4), uniforms(30, LONGEST, [1]))
    assert drawn.code.shape == (30, LONGEST)
    assert not drawn.ended.any() and (drawn.length == LONGEST).all()
    nothing = draw(generator(stop=1e4), uniforms(30, LONGEST, [1]))
    assert nothing.ended.all() and not nothing.length.any()


def test_the_last_number_decides_whether_a_full_jet_has_ended() -> None:
    network, numbers = generator(stop=1.0), uniforms(400, LONGEST, [2])
    drawn = draw(network, numbers)
    full = drawn.length == LONGEST
    assert full.any()
    for number, expected in ((0.0, False), (1 - 2**-53, True)):
        # The end is the last token of all, so the highest quantile.
        changed = numbers.copy()
        changed[:, -1] = number
        found = draw(network, changed)
        assert np.array_equal(found.code, drawn.code) and np.array_equal(found.length, drawn.length)
        assert (found.ended[full] == expected).all() and found.ended[~full].all()


def test_a_token_at_a_quantile() -> None:
    rng = np.random.default_rng(1)
    logits, numbers = torch.from_numpy(rng.normal(0, 2, (500, 30))), rng.random(500)
    share = np.exp(logits.numpy() / 0.7)
    reached = (share / share.sum(1, keepdims=True)).cumsum(1)
    expected = [int((row <= number).sum()) for row, number in zip(reached, numbers, strict=True)]
    assert pick(logits, torch.from_numpy(numbers), 0.7, None).tolist() == expected


@pytest.mark.parametrize("number", [0.0, 1 - 1e-16])
def test_the_ends_of_the_quantiles(number: float) -> None:
    """Tokens without probability are never drawn, be they the first or the last ones."""
    logits = torch.full((1, 3001), -torch.inf)
    logits[0, 1000:2000] = torch.linspace(-3, 3, 1000)
    asked = torch.tensor([number], dtype=torch.float64)
    assert asked < 1
    assert pick(logits, asked, 1.0, None).tolist() == [1000 if number == 0 else 1999]
    assert pick(logits, asked, 1.0, 10).tolist() == [1990 if number == 0 else 1999]
    finite = torch.linspace(3, -3, 20)[None]
    assert pick(finite, asked, 1.0, 4).tolist() == [0 if number == 0 else 3]
    assert pick(finite, asked, 1.0, None).tolist() == [0 if number == 0 else 19]
    generator = torch.Generator().manual_seed(1)
    many = torch.randn(5000, 300, generator=generator).masked_fill(torch.arange(300) % 299 == 0, -torch.inf)
    picked = pick(many, asked.expand(5000), 1.0, None)
    assert (picked == (1 if number == 0 else 298)).all()


def test_a_classifier_draws_nothing() -> None:
    network = build("omnijet", n_features=CODES, n_classes=2, width=16, blocks=1, heads=2)
    with pytest.raises(JetloomError, match=r"^the network is no generator: it was not trained for next_token$"):
        draw(network, uniforms(2, 3, [1]))


def tokenizer(codes: int = CODES) -> Tokenizer:
    torch.manual_seed(9)
    network = build("kmeans", n_features=7, n_classes=2, codes=codes)
    assert isinstance(network, Tokenizer)
    return network.eval()


def made(home: Path, network: OmniJet, of: Tokenizer, jets: int = 300) -> Path:
    paths = [home / name for name in ("generator.ckpt", "tokenizer.ckpt", "out.parquet")]
    for path in paths[:2]:
        path.write_text(path.name)
    generate(network, paths[0], of, paths[1], LONGEST, jets, [1, 0], ["qcd", "top"], 1.0, None, paths[2])
    return paths[2]


def test_the_file_holds_what_is_drawn_and_what_it_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetloom.derived.generate.AT_ONCE", 70)
    monkeypatch.setattr("jetloom.derived.generate.MOST", 0.05)
    network, of = generator(stop=-1.0), tokenizer()
    drawn = draw(network, uniforms(300, LONGEST, [1, 0]))
    file = pq.ParquetFile(made(tmp_path, network, of))
    table, facts = file.read(), json.loads(file.metadata.metadata[b"jetloom"])
    there = drawn.length > 0
    assert 0 < drawn.ended.sum() < 300 and (~there).sum() > 0
    assert facts["cut"] == pytest.approx(1 - drawn.ended.mean()) and facts["empty"] == pytest.approx(1 - there.mean())
    assert facts["jets_read"] == 300 and facts["jets_kept"] == there.sum() and facts["codes"] == CODES
    columns = {name: table[name].to_pylist() for name in table.column_names}
    code = [row[:length].tolist() for row, length in zip(drawn.code, drawn.length, strict=True) if length]
    assert columns["part_code"] == code
    assert set(columns["label"]) == {0}
    for jet in (0, 69, 70, -1):
        values = of.centres.detach()[code[jet]][None]
        vectors = vectors_from(values, torch.zeros(1, 1), torch.zeros(1, 1))[0].numpy()
        for place, name in enumerate(("px", "py", "pz", "energy")):
            np.testing.assert_allclose(columns[f"part_{name}"][jet], vectors[:, place], rtol=1e-5, atol=1e-5)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(JetloomError, match=r"generator\.ckpt: a generator of 12 codes, but .*tokenizer\.ckpt has 13; "):
        made(tmp_path, generator(), tokenizer(13))
    message = r"generator\.ckpt: \d+\.\d% of the generated jets have no particle; train it longer$"
    with pytest.raises(JetloomError, match=message):
        made(tmp_path, generator(stop=3.0), tokenizer())
    assert not (tmp_path / "out.parquet").exists()
    capsys.readouterr()
    made(tmp_path, generator(stop=-1e4), tokenizer(), 20)
    expected = "20 jets; 100.00% cut at 16 particles; more than expected: train it longer, or on longer jets; "
    assert capsys.readouterr().out == expected + "0.00% without a particle, left out\n"
