"""Released weights of OmniJet-alpha: every tensor arrives where it belongs, and nothing is loaded by half."""

import functools
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jetloom.batch import Batch
from jetloom.config import Tokenise
from jetloom.derived.tokenise import tokenizer
from jetloom.errors import JetloomError
from jetloom.models import build, load_published
from jetloom.models.tokenizer import particles_of
from jetloom.tasks.next_token.learn import NextToken
from jetloom.tasks.task import Data
from jetloom.training.train import start_from
from tests.models.authors_omnijet import (
    CODES,
    HEADS,
    LATENT,
    WIDTH,
    ClassifierHead,
    GeneratorHead,
    Whole,
    Wrapped,
    randomised,
)
from tests.models.jets import random_jets

SIZES = {"width": WIDTH, "blocks": 1, "heads": HEADS}


def theirs(kind):
    """Network of the authors' code with random weights."""
    made = {
        "tokenizer": Wrapped,
        "generator": lambda: Whole(GeneratorHead()),
        "classifier": lambda: Whole(ClassifierHead()),
    }
    return randomised(made[kind]())


def ours(kind):
    """A fresh network of ours for such a file."""
    torch.manual_seed(1)
    if kind == "tokenizer":
        return build("vqvae", n_features=7, n_classes=2, codes=CODES, latent=LATENT, **SIZES).eval()
    network = build("omnijet", n_features=CODES, n_classes=2, **SIZES)
    if kind == "generator":
        NextToken(Data(["QCD"], [], "tokens", max_particles=12, codes=CODES)).attach(network)
    return network.eval()


def saved(state, path):
    """As Lightning writes it."""
    torch.save({"epoch": 59, "state_dict": state}, path)
    return path


def codes(lengths=(5, 12, 1)):
    """Jets of codes, and for each the tokens from start to stop."""
    generator = torch.Generator().manual_seed(2)
    code = torch.randint(CODES, (len(lengths), max(lengths), 1), generator=generator, dtype=torch.int16)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = [
        torch.tensor([[0, *(code[row, :number, 0] + 1).tolist(), CODES + 1]]) for row, number in enumerate(lengths)
    ]
    return Batch(code, None, torch.zeros(*mask.shape, 0), mask), tokens


def test_tokenizer(tmp_path):
    source, network = theirs("tokenizer"), ours("tokenizer")
    told = load_published(network, saved(source.state_dict(), tmp_path / "vqvae.pt"))
    assert told.endswith(
        "; left out: model.vqlayer.data_initialized, model.vqlayer._counts; new: head.weight, head.bias, codebook.idle"
    )
    weights = source.model
    assert torch.equal(network.codebook.centres, weights.vqlayer.codebook.weight)
    assert torch.equal(network.codebook.scale, weights.vqlayer.affine_transform.scale)
    assert torch.equal(network.codebook.bias, weights.vqlayer.affine_transform.bias)
    assert torch.equal(network.encoder[0].attn.in_proj_weight, weights.encoder_normformer.blocks[0].attn.in_proj_weight)
    assert torch.equal(network.decoder[0].mlp[4].bias, weights.decoder_normformer.blocks[0].mlp[4].bias)
    # Jets of one length, none of whose particles are lost; the authors' formulas know no padding.
    batch = random_jets(5, 9, full=True, n_features=7)
    given = particles_of(batch)
    assert given.kept.all()
    with torch.no_grad():
        code, values = weights(given.values)
        found = network.reconstruct(batch)
    assert torch.equal(found.code, code)
    assert len(code.unique()) > 3
    torch.testing.assert_close(found.values, values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["generator", "classifier"])
def test_generator_and_classifier(kind, tmp_path):
    source, network = theirs(kind), ours(kind)
    told = load_published(network, saved(source.state_dict(), tmp_path / "omnijet.pt"))
    assert told.endswith("; left out: module.GPT_blocks.0.mha_block.tril")
    batch, tokens = codes()
    with torch.no_grad():
        if kind == "classifier":
            expected = torch.cat([source(row) for row in tokens])
            torch.testing.assert_close(network(batch), expected, rtol=1e-5, atol=1e-5)
            return
        for row in tokens:
            torch.testing.assert_close(network.head(network.read(row)), source(row), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["tokenizer", "generator", "classifier"])
def test_one_missing_one_foreign_or_another_shape_is_named_and_nothing_is_loaded(kind, tmp_path):
    whole = theirs(kind).state_dict()
    lost, wrong = ("model.latent_projection_in.bias", "model.vqlayer.codebook.weight") if kind == "tokenizer" else (
        "module.GPT_blocks.0.mha_block.proj.bias", "module.embedding_table.weight"
    )  # fmt: skip
    changes = [
        ({name: value for name, value in whole.items() if name != lost}, rf"it lacks \S*{lost.split('.', 3)[-1][-9:]}"),
        (whole | {"model.strange.weight": torch.zeros(2)}, r"it has unknown \S*strange\.weight;"),
        (whole | {wrong: torch.zeros(3, 2)}, r"(codebook\.centres|embedding_table\.weight) is 3x2 in the file"),
        (whole | {f"mod.{lost}": whole[lost]}, rf"{lost}, mod\.{lost} would be the same"),
    ]
    for state, message in changes:
        network = ours(kind)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(JetloomError, match=message) as error:
            load_published(network, saved(state, tmp_path / "released.pt"))
        assert "\n" not in str(error.value)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_tokenizer_is_no_generator(tmp_path):
    path = saved(theirs("tokenizer").state_dict(), tmp_path / "vqvae.pt")
    with pytest.raises(JetloomError, match=r"does not fit OmniJet: it lacks embedding_table\.weight"):
        load_published(ours("generator"), path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_generator_starts_a_classifier(suffix, tmp_path, capsys):
    source, network = theirs("generator"), ours("classifier")
    path = tmp_path / f"generator.{suffix}"
    state = source.state_dict()
    save_file(state, path) if suffix == "safetensors" else saved(state, path)
    fresh = {name: value.clone() for name, value in network.head.state_dict().items()}
    start_from(network, path)
    told = capsys.readouterr().out
    left = set(told.partition("left out: ")[2].partition(";")[0].split(", "))
    assert left == {"module.GPT_blocks.0.mha_block.tril", "head.token.weight", "head.token.bias"}
    assert told.strip().endswith("; new: head.embed.weight, head.embed.bias, head.classes.weight, head.classes.bias")
    assert all(torch.equal(value, fresh[name]) for name, value in network.head.state_dict().items())
    _, [row, *_] = codes()
    with torch.no_grad():
        torch.testing.assert_close(network.read(row), source.module(row), rtol=1e-5, atol=1e-5)


def test_a_generator_without_a_part_of_the_backbone_starts_nothing(tmp_path):
    state = theirs("generator").state_dict()
    del state["module.GPT_blocks.0.layernorm_2.weight"]
    with pytest.raises(JetloomError, match=r"it lacks blocks\.0\.layernorm_2\.weight; nothing was loaded"):
        start_from(ours("classifier"), saved(state, tmp_path / "generator.pt"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_every_precision(dtype, tmp_path):
    """Written by the library."""
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in theirs("tokenizer").state_dict().items()
    }
    save_file(state, tmp_path / "vqvae.safetensors", metadata={"from": "somewhere"})
    network = ours("tokenizer")
    load_published(network, tmp_path / "vqvae.safetensors")
    expected = state["model.input_projection.weight"].float()
    assert torch.equal(network.input_projection.weight, expected)
    assert network.input_projection.weight.dtype is torch.float32


def test_damaged_safetensors_are_one_line(tmp_path):
    save_file(theirs("tokenizer").state_dict(), tmp_path / "good.safetensors")
    good, path = (tmp_path / "good.safetensors").read_bytes(), tmp_path / "bad.safetensors"
    header = 8 + int.from_bytes(good[:8], "little")
    other = [good.replace(b'"F32"', b'"F31"', 1), good.replace(b"[0,", b"[9,", 1), b"\xff" * 8 + good[8:]]
    for content in [good[:5], good[:100], good[:header], good[:-1], b"", b"\2" + bytes(7) + b"[]", *other]:
        path.write_bytes(content)
        with pytest.raises(JetloomError, match="no readable checkpoint of tensors") as error:
            load_published(ours("tokenizer"), path)
        assert "\n" not in str(error.value)


@pytest.mark.seconds
def test_a_pickled_file_is_one_line_whose_command_converts_it(tmp_path):
    source = theirs("tokenizer")
    path = tmp_path / "model_ckpt.ckpt"
    hyper = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-3)}
    torch.save({"state_dict": source.state_dict(), "hyper_parameters": hyper}, path)
    for refuse in (load_published, start_from):
        with pytest.raises(JetloomError, match="holds more than tensors") as error:
            refuse(ours("tokenizer"), path)
        line = str(error.value)
        assert "\n" not in line
        assert "functools.partial" in line
        assert "docs/transfer.md" in line
    command = shlex.split(line[line.index("python -c") :])
    subprocess.run([sys.executable, *command[1:]], check=True)
    network = ours("tokenizer")
    load_published(network, path.with_suffix(".pt"))
    assert torch.equal(network.output_projection.weight, source.model.output_projection.weight)


def test_the_section_that_the_line_names_is_there():
    assert "## Released weights" in Path(__file__).parents[2].joinpath("docs/transfer.md").read_text()


def test_a_derived_set_takes_the_released_tokenizer(tmp_path, monkeypatch):
    """At the published size, from the names and shapes that are known of the file."""
    shapes = {"input_projection": (128, 3), "latent_projection_in": (4, 128), "latent_projection_out": (128, 4)}
    shapes |= {"output_projection": (3, 128)}
    for side in ("encoder", "decoder"):
        for block in range(4):
            at = f"{side}_normformer.blocks.{block}"
            shapes |= {f"{at}.{name}": (128,) for name in ("norm1", "norm2", "mlp.0")}
            shapes |= {f"{at}.{name}": (128, 128) for name in ("attn.out_proj", "mlp.1", "mlp.4")}
            shapes |= {f"{at}.attn.in_proj_": (384, 128)}
    state = {"vqlayer.codebook.weight": torch.randn(8192, 4), "vqlayer.data_initialized": torch.ones(1)}
    state |= {f"vqlayer.affine_transform.{name}": torch.zeros(1, 4) for name in ("scale", "bias")}
    state |= {"vqlayer._counts": torch.zeros(8192)}
    for name, shape in shapes.items():
        dot = "" if name.endswith("_") else "."
        state |= {f"{name}{dot}weight": torch.randn(shape), f"{name}{dot}bias": torch.randn(shape[0])}
    path = saved({f"model.{name}": value for name, value in state.items()}, tmp_path / "vqvae.pt")
    released = Tokenise(dataset="jetclass", checkpoint=str(path), architecture="vqvae")
    network = tokenizer(path, released).cpu()
    assert torch.equal(network.held(torch.tensor(17)), state["vqlayer.codebook.weight"][17])
    assert (
        sum(value.numel() for name, value in state.items() if "_counts" not in name and "init" not in name) == 833_551
    )
    # A file of another number of codes, as the authors' main experiment makes it.
    state |= {"vqlayer.codebook.weight": torch.randn(2048, 4), "vqlayer._counts": torch.zeros(2048)}
    path = saved({f"model.{name}": value for name, value in state.items()}, tmp_path / "main.pt")
    with pytest.raises(JetloomError, match="codebook"):
        tokenizer(path, released)
    assert tokenizer(path, released.model_copy(update={"options": {"codes": 2048}})).codes == 2048
