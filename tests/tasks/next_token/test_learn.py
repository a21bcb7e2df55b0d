"""Next token: which targets count, and that long jets and short ones are learnt as often as they occur."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.config import Evaluation
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.omnijet import OmniJet
from jetloom.tasks.next_token.ladder import Ladder
from jetloom.tasks.next_token.learn import NextToken, TokenHead, nats
from jetloom.tasks.next_token.measure import merit
from jetloom.tasks.task import Data, Question, Seen
from tests.models.jets import joined, random_tokens, resized, with_padding

CODES = 40
DATA = Data(["a", "b"], [], kind="tokens", max_particles=24, codes=CODES)
CPU = torch.device("cpu")


def trained(task: NextToken) -> OmniJet:
    """Attached, with weights that are not the first ones."""
    torch.manual_seed(5)
    network = build("omnijet", n_features=CODES, n_classes=2, width=32, blocks=2, heads=4)
    assert isinstance(network, OmniJet)
    task.attach(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    task.fit(network, lambda: None, lambda: iter([random_tokens(60, 24, codes=CODES, seed=9)]))
    return network.eval()


def losses(task: NextToken, network: OmniJet, batch: Batch) -> tuple[float, dict[str, float], list[Tensor]]:
    """Loss, row and gradients."""
    network.zero_grad()
    sums = task.sums(CPU)
    loss = task.step(network, batch, sums)
    loss.backward()
    return loss.item(), task.row(sums), [p.grad.clone() for p in network.parameters()]


def test_the_loss_by_hand() -> None:
    task = NextToken(DATA)
    network, batch = trained(task), random_tokens(12, 24, codes=CODES, seed=1)
    number = batch.mask.sum(1).tolist()
    expected = []
    with torch.no_grad():
        for codes, length in zip(batch.features[..., 0].tolist(), number, strict=True):
            sequence = [0, *(code + 1 for code in codes[:length]), CODES + 1]
            total = 0.0
            for place in range(1, len(sequence)):
                known = network.read(torch.tensor([sequence[:place]]))[0, -1]
                total -= network.head(known).double().log_softmax(0)[sequence[place]].item()
            expected.append(total)
        answer = task.answer(network, batch)
    np.testing.assert_allclose(answer[:, 0].numpy(), expected, rtol=1e-5)
    assert answer[:, 1].tolist() == [length + 1 for length in number]
    loss, row, _ = losses(task, network, batch)
    mean = random_tokens(60, 24, codes=CODES, seed=9).mask.sum().item() / 60 + 1
    assert loss == pytest.approx(sum(expected) / 12 / mean, rel=1e-5)
    assert row == pytest.approx({"loss": sum(expected) / (sum(number) + 12), "jet_nats": sum(expected) / 12}, rel=1e-5)


def test_a_window_learns_the_first_targets_of_a_jet_alone() -> None:
    """Those of a longer one neither count nor change what is learnt of the others; an evaluation counts all."""
    batch = random_tokens(12, 24, codes=CODES, seed=1)
    lengths = batch.mask.sum(1)
    window = int(lengths.median())
    task, whole = NextToken(DATA, window=window), NextToken(DATA)
    network = trained(task)
    cut = with_padding(batch._replace(mask=batch.mask & (torch.arange(24) < window)), 0.0)
    loss, row, gradients = losses(task, network, batch)
    found, cut_row, cut_gradients = losses(task, network, cut)
    assert (loss, row) == (pytest.approx(found, rel=1e-6), pytest.approx(cut_row, rel=1e-6))
    for one, two in zip(gradients, cut_gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)
    assert torch.equal(task.answer(network, batch), whole.answer(network, batch))
    # Of 60 jets with 60 stop tokens, fewer of which are targets.
    known = random_tokens(60, 24, codes=CODES, seed=9).mask.sum(1)
    per_jet = (known + 1).clamp(max=window).double().mean().item()
    answer = nats(network, batch, window)
    assert loss == pytest.approx(answer[:, 0].sum().item() / 12 / per_jet, rel=1e-5)
    assert answer[:, 1].tolist() == (lengths + 1).clamp(max=window).tolist()
    share = (known >= window).double().mean().item()
    assert f"{share:.1%} of the training jets have {window} particles or more" in task.remark({})
    assert whole.remark({}) == "" and NextToken(DATA, window=25).remark({}) == ""


def test_a_window_that_holds_all_changes_nothing() -> None:
    task, whole = NextToken(DATA, window=25), NextToken(DATA)
    network, batch = trained(task), random_tokens(12, 24, codes=CODES, seed=1)
    whole.fit(network, lambda: None, lambda: iter([random_tokens(60, 24, codes=CODES, seed=9)]))
    assert losses(task, network, batch)[0] == losses(whole, network, batch)[0]
    with pytest.raises(JetloomError, match=r"task.next_token.window: expected at least 1, got 0"):
        NextToken(DATA, window=0)


def test_who_knows_nothing_takes_ln_v_for_a_token() -> None:
    task = NextToken(DATA)
    network, batch = trained(task), random_tokens(12, 24, codes=CODES, seed=1)
    nn.init.zeros_(network.head.token.weight), nn.init.zeros_(network.head.token.bias)
    sums = task.sums(CPU)
    task.validate(network, batch, sums)
    assert task.row(sums)["loss"] == pytest.approx(math.log(CODES + 2), rel=1e-6)
    assert network.head.token.weight.shape == (CODES + 2, 32)


def test_padding_counts_nowhere() -> None:
    task = NextToken(DATA)
    network, batch = trained(task), random_tokens(12, 24, codes=CODES, seed=1)
    loss, row, gradients = losses(task, network, batch)
    found, wide_row, wide_gradients = losses(task, network, with_padding(resized(batch, 48), float("nan")))
    assert found == pytest.approx(loss, rel=1e-6) and wide_row == pytest.approx(row, rel=1e-6)
    for one, two in zip(gradients, wide_gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_all_targets_weigh_alike_whatever_batch_they_are_in() -> None:
    task = NextToken(DATA)
    network = trained(task)
    short, long = resized(random_tokens(6, 4, codes=CODES), 24), random_tokens(10, 24, codes=CODES, seed=2)
    of_both, of_short, of_long = (losses(task, network, batch) for batch in (joined([short, long]), short, long))
    assert of_both[0] == pytest.approx((6 * of_short[0] + 10 * of_long[0]) / 16, rel=1e-5)
    for whole, one, two in zip(of_both[2], of_short[2], of_long[2], strict=True):
        torch.testing.assert_close(whole, (6 * one + 10 * two) / 16, atol=1e-6, rtol=1e-4)


class Table(OmniJet):
    """Knows the place in the jet alone: a free logit of the end at each place, against the one code that there is."""

    def __init__(self, places: int) -> None:
        super().__init__(1, 2, width=4, blocks=0, heads=1)
        self.places = places

    def read(self, tokens: Tensor, there: Tensor | None = None, number: object = None) -> Tensor:
        """(B, T, P): the place as a unit vector."""
        return torch.eye(self.places)[: tokens.shape[1]].expand(len(tokens), -1, -1)


class Stop(nn.Module):
    """(..., P) to the logits of start, code and stop."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(places))

    def forward(self, known: Tensor) -> Tensor:
        stop = known @ self.logit
        return torch.stack([torch.full_like(stop, -30.0), torch.zeros_like(stop), stop], -1)


def of_length(particles: int, jets: int = 8) -> Batch:
    mask = torch.ones(jets, particles, dtype=torch.bool)
    return Batch(torch.zeros(jets, particles, 1, dtype=torch.int16), None, torch.zeros(jets, particles, 0), mask)


def short_jets_learnt(mean_of_batch: bool) -> float:
    """Share of short jets that a table generates which learnt from jets of 2 and of 20 targets, as many of each."""
    task, network = NextToken(DATA._replace(codes=1)), Table(20)
    buckets = [of_length(1), of_length(19)]
    task.fit(network, lambda: None, lambda: iter(buckets))
    network.head = Stop(20)
    optimiser = torch.optim.Adam(network.head.parameters(), 0.1)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 400)
        optimiser.zero_grad()
        # A batch of each bucket; of two steps the gradients would just take turns.
        for batch in buckets:
            if mean_of_batch:
                total, number = nats(network, batch).unbind(1)
                (total.sum() / number.sum()).backward()
            else:
                task.step(network, batch, task.sums(CPU)).backward()
        optimiser.step()
    ends = network.head.logit.detach().sigmoid()
    assert ends[0] < 0.02 and ends[19] > 0.98
    assert ends[2:19].max() < 0.02
    return ((1 - ends[0]) * ends[1]).item()


def test_short_jets_are_generated_as_often_as_they_occur() -> None:
    """Buckets by length: a mean over the targets of a batch would weigh a jet of n targets by 1 / n."""
    assert short_jets_learnt(mean_of_batch=False) == pytest.approx(1 / 2, abs=0.02)
    assert short_jets_learnt(mean_of_batch=True) == pytest.approx(20 / 22, abs=0.02)


def chains(number: int, seed: int) -> Batch:
    """Jets whose codes count up from a random one."""
    batch = random_tokens(number, 12, codes=CODES, seed=seed)
    code = (batch.features[:, :1] + torch.arange(12)[None, :, None]) % CODES
    return batch._replace(features=code.to(torch.int16).masked_fill(~batch.mask[..., None], 0))


def seen(task: NextToken, network: OmniJet) -> Seen:
    evaluated = [chains(40, seed) for seed in (1, 2)]
    with torch.inference_mode():
        values = torch.cat([task.answer(network, batch) for batch in evaluated]).numpy()

    def over(split, function) -> Iterator[tuple]:  # type: ignore[no-untyped-def,type-arg]
        for batch in {"train": [chains(200, seed) for seed in range(5, 9)], "evaluated": evaluated}[split]:
            yield tuple(part.numpy() for part in function(network, batch))

    return Seen(values, np.zeros((len(values), 0), np.float32), np.zeros(len(values), np.int16), None, None, over)


def test_figures_of_merit() -> None:
    task = NextToken(DATA)
    network = trained(task)
    what = seen(task, network)
    told = merit(task, what, Question(Evaluation(), None, {}, 1))
    values, (total, number) = told["values"], what.values.T.astype(float)
    assert told["jets"] == 80
    assert values["nats"]["value"] == pytest.approx(total.sum() / number.sum())
    assert values["jet_nats"]["value"] == pytest.approx(total.mean())
    pairs = [
        [(batch.features[..., 0].numpy(), batch.mask.numpy()) for batch in batches]
        for batches in ([chains(200, seed) for seed in range(5, 9)], [chains(40, seed) for seed in (1, 2)])
    ]
    ladder = Ladder(CODES, pairs[0])
    for name in ("uniform", "unigram", "position", "bigram"):
        expected = sum(ladder.nats(*jets)[name] for jets in pairs[1]) / number.sum()
        assert values[name]["value"] == pytest.approx(expected)
    assert values["bigram"]["value"] < values["unigram"]["value"] - 1
    gained = values["nats_gained"]
    assert gained["value"] == pytest.approx(values["bigram"]["value"] - values["nats"]["value"])
    for item in values.values():
        assert item["low"] <= item["value"] <= item["high"]
    assert gained["high"] - gained["low"] == pytest.approx(values["nats"]["high"] - values["nats"]["low"])


@pytest.mark.slow
def test_it_learns_a_chain() -> None:
    task = NextToken(DATA)
    network = trained(task).train()
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(150):
        optimiser.zero_grad()
        task.step(network, chains(64, step), task.sums(CPU)).backward()
        optimiser.step()
    sums = task.sums(CPU)
    task.validate(network.eval(), chains(200, 1000), sums)
    # One random code of 40 in a jet, and its length.
    assert task.row(sums)["jet_nats"] < math.log(40) + math.log(12) + 2


def test_data_and_networks_that_do_not_serve() -> None:
    message = r"^task\.next_token: learns from tokens; make a token set first: made_by\.tokenise$"
    with pytest.raises(JetloomError, match=message):
        NextToken(DATA._replace(kind="jets"))
    message = r"^task next_token: the network does not read token by token; base it on omnijet$"
    with pytest.raises(JetloomError, match=message):
        NextToken(DATA).attach(build("pfn", preset="tiny", n_features=7, n_classes=2))


def test_the_head() -> None:
    head = TokenHead(8, 5)
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(head(x), x @ head.token.weight.mT + head.token.bias)
