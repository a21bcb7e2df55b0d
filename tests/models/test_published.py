"""Checkpoints of others: their names are ours, and nothing is loaded by half."""

import pickle

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import build, load_published
from tests.models.jets import random_jets
from tests.models.test_part import ask_part


def save(state, path):
    torch.save({f"mod.{name}": value for name, value in state.items()}, path)
    return path


@pytest.mark.parametrize(("name", "features"), [("particlenet", 7), ("part", 17)])
def test_round_trip(name, features, tmp_path):
    source = build(name, n_features=features, n_classes=10)
    path = save(source.state_dict(), tmp_path / "published.pt")
    model = build(name, n_features=features, n_classes=10)
    message = load_published(model, path)
    assert str(path) in message and f"{len(source.state_dict())} entries" in message
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_names_of_both_versions_of_weaver_core(request, version, tmp_path):
    """Files as each version writes them give the logits of that version."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = random_jets(4, 30)
    answer = ask_part(directory, batch, noise=0.02)
    assert ("blocks.0.attn.in_proj.weight" in answer["state"]) == (version == "0.5")
    model = build("part", n_features=17, n_classes=10, channel_order=f"weaver{version}").eval()
    load_published(model, save(answer["state"], tmp_path / "ParT_full.pt"))
    with torch.no_grad():
        torch.testing.assert_close(model(batch), answer["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_features": 13}, r"embed.input_bn.weight is 17 in the file and 13 in the model"),
        ({"n_classes": 2}, r"head.weight is 10x128 in the file and 2x128 in the model"),
        ({"blocks": 9}, r"it lacks blocks.8.c_attn, blocks.8.w_resid, blocks.8.pre_attn_norm.weight and \d+ more"),
        ({"blocks": 7}, r"unknown blocks.7.c_attn"),
    ],
)
def test_refuses_what_does_not_fit(change, message, tmp_path):
    path = save(build("part", n_features=17, n_classes=10).state_dict(), tmp_path / "ParT_full.pt")
    model = build("part", **({"n_features": 17, "n_classes": 10} | change))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(JetloomError, match=message) as error:
        load_published(model, path)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Trap:
    """What untrusted pickles do."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_refuses_what_is_no_checkpoint(tmp_path, capsys):
    model = build("pfn", n_features=17, n_classes=10)
    files = {"absent.pt": None, "text.pt": b"hello", "code.pt": pickle.dumps(Trap()), "list.pt": "list"}
    for name, content in files.items():
        path = tmp_path / name
        if content == "list":
            torch.save([1, 2], path)
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(JetloomError, match=name) as error:
            load_published(model, path)
        assert "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out
