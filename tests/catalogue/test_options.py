"""What a row of the registry says of its class: fixed options, choices, defaults."""

import pytest

from jetloom.catalogue import cards
from jetloom.catalogue import options as module
from jetloom.catalogue.cards import ModelCard
from jetloom.catalogue.options import check_options, defaults, options
from jetloom.catalogue.signatures import signature
from jetloom.config import resolve_training
from jetloom.errors import JetloomError
from jetloom.training.made_from import all_options, setting_parts


def differing(row: str) -> dict:
    """Options whose default is not the class's."""
    own = signature(cards.model_card(row).class_path)
    return {name: value for name, value in defaults(row).items() if value != own[name].default}


def test_a_row_differs_from_its_control_in_what_its_file_says():
    assert {row: differing(row) for row in cards.names("models") if differing(row)} == {
        "macaron": {"macaron": True, "ffn_ratio": 2},
        "sparse_attention": {"attention": "strided"},
        "reformer": {"attention": "lsh"},
        "part_plain": {"pair_bias": False, "pair_embedding": ()},
        "particlenet_lite": {"neighbours": 7, "convolutions": ((32, 32, 32), (64, 64, 64)), "hidden": 128},
        "mipart_l": {"embedding": (128, 512, 128)},
    }


@pytest.mark.parametrize(
    ("row", "values", "says"),
    [
        ("macaron", {"macaron": False}, r"here\.macaron: expected True \(fixed\), got False$"),
        ("part_plain", {"pair_bias": True}, r"here\.pair_bias: expected False \(fixed\), got True$"),
        ("part_plain", {"pair_bias": "some"}, r"expected False \(fixed\), got 'some'$"),
        ("reformer", {"stride": 6}, r"here\.stride: expected 12 \(fixed\), got 6$"),
        ("reformer", {"attention": "full"}, r"expected Literal\['lsh', 'shared_qk'\], got 'full'$"),
        ("sparse_attention", {"attention": "lsh"}, r"expected Literal\['strided', 'nearest'\], got 'lsh'$"),
        ("part", {"channel_order": "weaver9"}, r"expected Literal\['weaver0.4', 'weaver0.5'\], got 'weaver9'$"),
        ("salt", {"sort": "kT"}, r"'published_phi'\], got 'kT'$"),
        ("macaron", {"macarons": 2}, r"macaron has no such option; allowed: embedding, (?!.*macaron,)"),
    ],
)
def test_what_makes_the_row_cannot_be_changed(row, values, says):
    with pytest.raises(JetloomError, match=says) as caught:
        check_options(row, values, "here")
    assert "\n" not in str(caught.value)


def test_defaults_can_be_changed_and_checkpoints_may_say_what_is_fixed():
    assert check_options("macaron", {"ffn_ratio": 4}, "here") == {"ffn_ratio": 4}
    assert check_options("reformer", {"attention": "shared_qk"}, "here") == {"attention": "shared_qk"}
    for row in cards.names("models"):
        complete = all_options(row, {})
        assert check_options(row, complete, row) == complete


def test_fixed_options_count_in_what_a_training_is_made_from(monkeypatch):
    def made_from() -> str:
        options.cache_clear()
        return setting_parts("macaron", all_options("macaron", {}), [], resolve_training({}), 1)["options"]

    before, card = made_from(), cards.model_card("macaron")
    monkeypatch.setattr(module, "model_card", lambda name: card.model_copy(update={"fixed": {"macaron": False}}))
    after = made_from()
    monkeypatch.undo()
    assert made_from() == before != after


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"fixed": {"blok": 1}}, r"catalogue/models/odd\.yaml: fixed\.blok: odd has no such option"),
        ({"defaults": {"blocks": "many"}}, r"catalogue/models/odd\.yaml: defaults\.blocks: expected int, got 'many'"),
        ({"choices": {"attention": ["full", "none"]}}, r"choices\.attention: expected Literal.*, got 'none'"),
        ({"choices": {"attention": ["lsh"]}, "fixed": {"attention": "full"}}, r"fixed\.attention: expected .*'lsh'"),
    ],
)
def test_mistakes_of_a_row_are_named(monkeypatch, says, message):
    card = cards.read("models", "transformer") | says
    monkeypatch.setattr(module, "model_card", lambda name: ModelCard.model_validate(card))
    with pytest.raises(JetloomError, match=message):
        options("odd")
