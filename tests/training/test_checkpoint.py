"""Files that hold a model: complete or absent, and never run."""

import errno
import os
import pickle
import random
from pathlib import Path

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.training.checkpoint import SCHEMA_VERSION, load, load_model, save, save_model
from tests.models.jets import random_jets

SIZES = {"n_features": 7, "n_classes": 3, "max_particles": 16}
OPTIONS = {"embedding": [8], "blocks": 1, "heads": 2, "ffn_ratio": 1}
DESCRIBED = {"model": "transformer", "options": OPTIONS, **SIZES, "seed": 1, "epoch": 4, "run": {"model": "small"}}


@pytest.fixture
def model() -> torch.nn.Module:
    return build("transformer", **SIZES, **OPTIONS)


def test_same_answers_after_the_way_through_a_file(model, tmp_path) -> None:
    save_model(tmp_path / "deep" / "best.ckpt", model, DESCRIBED)
    again, described = load_model(tmp_path / "deep" / "best.ckpt")
    assert not again.training
    assert described == {"schema_version": SCHEMA_VERSION, **DESCRIBED}
    batch = random_jets(5, 12, n_features=7)
    assert torch.equal(model.eval()(batch), again(batch))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["best.ckpt"]


def test_readable_by_torch_alone(model, tmp_path) -> None:
    save_model(tmp_path / "best.ckpt", model, DESCRIBED)
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert content["state_dict"].keys() == model.state_dict().keys()


def test_old_file_stays_when_writing_fails(tmp_path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    save({"schema_version": SCHEMA_VERSION, "a": 1}, path)

    def full_disk(self, content) -> None:
        self.open("wb").write(content[:100])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(JetloomError, match=r"last.ckpt: No space left on device; make room"):
        save({"schema_version": SCHEMA_VERSION, "a": 2}, path)
    assert load(path)["a"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


class Intruder:
    def __reduce__(self):
        return os.mkdir, ("intruded",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"schema_version": SCHEMA_VERSION, "model": Intruder()}
    torch.save(content, "new.ckpt")
    Path("old.ckpt").write_bytes(pickle.dumps(content))
    for name in ("new.ckpt", "old.ckpt"):
        with pytest.raises(JetloomError, match=rf"{name}: not a readable checkpoint \(.+\)$"):
            load(Path(name))
    assert not Path("intruded").exists()


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_are_one_line(model, tmp_path) -> None:
    """Cut anywhere and with random bytes anywhere: loads or says so, whatever torch raises for it."""
    save_model(tmp_path / "good.ckpt", model, DESCRIBED)
    good, path = (tmp_path / "good.ckpt").read_bytes(), tmp_path / "bad.ckpt"
    generator = random.Random(1)
    damaged = [good[:size] for size in (*range(0, 600, 7), *range(600, len(good), 3997))]
    for _ in range(250):
        content = bytearray(good)
        content[generator.randrange(generator.choice((700, len(good))))] = generator.randrange(256)
        damaged.append(bytes(content))
    damaged += [b"\x80\x02" + generator.randbytes(generator.randrange(60)) for _ in range(250)]
    # A readable pickle with a byte changed makes the most different errors.
    pickled = pickle.dumps({"schema_version": SCHEMA_VERSION, "a": [1, {"b": 2.5}]}, 2)
    for _ in range(250):
        content = bytearray(pickled)
        content[generator.randrange(2, len(content))] = generator.randrange(256)
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            load(path)
        except JetloomError as error:
            assert str(error).startswith(f"{path}: not a ")
            assert "\n" not in str(error)
            refused += 1
    assert refused > 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a checkpoint of jetloom, version 2"),
        ({"state_dict": {}}, "not a checkpoint of jetloom, version 2"),
        ({"schema_version": 99}, "not a checkpoint of jetloom, version 2"),
        # last.ckpt of a running training.
        ({"schema_version": SCHEMA_VERSION, "model": {}, "progress": {}}, "not a trained model"),
        ({"schema_version": SCHEMA_VERSION, "state_dict": {}}, "not a trained model"),
    ],
)
def test_other_torch_files(content, message: str, tmp_path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(JetloomError, match=rf"a\.ckpt: {message}"):
        load_model(tmp_path / "a.ckpt")


def test_no_file_and_a_directory(tmp_path) -> None:
    with pytest.raises(JetloomError, match=r"x\.ckpt: no such checkpoint"):
        load(tmp_path / "x.ckpt")
    with pytest.raises(JetloomError, match="not a readable checkpoint"):
        load(tmp_path)


def test_weights_of_another_architecture(model, tmp_path) -> None:
    save_model(tmp_path / "a.ckpt", model, DESCRIBED | {"options": OPTIONS | {"embedding": [24]}})
    with pytest.raises(JetloomError, match=r"a\.ckpt: the weights do not fit transformer: ") as error:
        load_model(tmp_path / "a.ckpt")
    assert "\n" not in str(error.value)
