"""A disk that is full: one line, nothing half-written, and the same result when there is room."""

import json
import re
import shutil
from pathlib import Path

import pytest

from jetloom.cli import main
from jetloom.data.fetch import archives
from jetloom.data.fetch.download import download
from jetloom.errors import JetloomError
from jetloom.tracking.store import prepare
from tests.support.data.mirrors import root_file
from tests.support.downloads import dataset
from tests.support.http_server import served
from tests.support.verbs import VERBS, Verb, call, content, left

pytestmark = pytest.mark.seconds

FULL = r"\S+: No space left on device; make room and give the command again"
LARGE = ("tensors shard", "train", "report")


def fill(disk: Path, room: int = 0) -> Path:
    """Leave so many bytes."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
    return filler


CASES = [(verb, 0) for verb in VERBS] + [(verb, 8192) for verb in VERBS if verb.name in LARGE]


@pytest.mark.parametrize(("verb", "room"), CASES, ids=lambda value: str(getattr(value, "name", value)))
def test_no_room_is_one_line_and_leaves_nothing(whole: Path, disk: Path, verb: Verb, room: int) -> None:
    """At the first byte, or in the middle."""
    filler = fill(disk, room)
    output = disk / "out"
    output.mkdir()
    with pytest.raises(SystemExit) as ended:
        main(verb.arguments(whole, output))
    said = str(ended.value.code)
    assert re.fullmatch(f"jetloom: {FULL}", said), said
    assert str(output) in said
    # What a training has saved so far is for the next try.
    assert not [name for name in left(output) if not name.startswith("scratch/") or "partial" in name]
    filler.unlink()
    verb.run(whole, output)
    for name in verb.outputs:
        assert content(output / name) == content(whole / name), name


@pytest.mark.parametrize("room", [0, 8192])
def test_aroot_file_appears_whole_or_not(disk: Path, room: int) -> None:
    filler = fill(disk, room)
    with pytest.raises(JetloomError, match=FULL):
        root_file(disk / "ZJetsToNuNu_000.root", "ZJetsToNuNu", 60, seed=1)
    assert left(disk) == ["filler"]
    filler.unlink()
    root_file(disk / "ZJetsToNuNu_000.root", "ZJetsToNuNu", 60, seed=1)
    assert left(disk) == ["ZJetsToNuNu_000.root"]


@pytest.mark.parametrize("said_in_advance", [True, False])
def test_a_download_goes_on_when_there_is_room(disk: Path, monkeypatch, said_in_advance: bool) -> None:
    monkeypatch.setattr(archives, "RESERVE", 0)
    data = bytes(range(256)) * 4000
    filler = fill(disk, 300_000)
    with served(files={"a.bin": data}, length=said_in_advance) as site:
        settings = dataset({"name": "a.bin", "url": f"{site.url}/a.bin"})
        with pytest.raises(JetloomError, match=f"{disk}.*; make room"):
            download(settings, disk / "raw", jobs=1)
        assert not (disk / "raw" / "a.bin").exists()
        filler.unlink()
        download(settings, disk / "raw", jobs=1)
    assert (disk / "raw" / "a.bin").read_bytes() == data


def test_a_full_store_of_mlflow_does_not_hurt_the_training(whole: Path, disk: Path, tmp_path: Path) -> None:
    prepare(None, ["by-hand/shapes-sim"], disk, disk / "mlflow.json")
    fill(disk)
    train = next(verb for verb in VERBS if verb.name == "train")
    call([*train.arguments(whole, tmp_path / "out"), f"--store={disk / 'mlflow.json'}"])
    for name in train.outputs:
        kept = [content(directory / name) for directory in (tmp_path / "out", whole)]
        told = kept[0].pop("mlflow", None)
        kept[1].pop("mlflow", None)
        assert kept[0] == kept[1]
        assert name != "training.json" or told["not_sent"] > 0
    assert json.loads((tmp_path / "out" / "training.json").read_text())["mlflow"]["uri"].startswith("sqlite")
