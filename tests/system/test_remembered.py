"""What was read from a source file is kept for its text and its reader, and for nothing else."""

import sys

import pytest

from jetloom.system import remembered as module
from jetloom.system.remembered import remembered


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "module.py"
    file.write_text("x = 1")
    return file


@pytest.fixture
def asked():
    return []


@pytest.fixture
def read(asked):
    def read(text):
        asked.append(text)
        return [text.upper()]

    return read


def test_asked_once_for_each_text(file, read, asked):
    assert [remembered(file, read) for _ in range(3)] == [["X = 1"]] * 3
    # As long, and in the same second, which byte code takes for the same.
    file.write_text("x = 2")
    assert [remembered(file, read) for _ in range(3)] == [["X = 2"]] * 3
    assert asked == ["x = 1", "x = 2"]
    assert [path.name for path in file.parent.glob("__pycache__/*")] == [
        f"module.{sys.implementation.cache_tag}.test_remembered"
    ]


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b"\xff", b'{"of": ["a", "b"], "said": ["Y"]}'])
def test_a_damaged_file_is_made_again(file, read, asked, damaged):
    remembered(file, read)
    (kept,) = file.parent.glob("__pycache__/*")
    kept.write_bytes(damaged)
    assert [remembered(file, read) for _ in range(2)] == [["X = 1"]] * 2
    assert asked == ["x = 1"] * 2


def test_another_reader_is_asked(file, read, asked, monkeypatch):
    remembered(file, read)
    monkeypatch.setattr(module, "_digest_of_module", lambda name: "another")
    remembered(file, read)
    assert asked == ["x = 1"] * 2


def test_nothing_is_written_where_none_can_or_shall_be(file, read, monkeypatch):
    (file.parent / "__pycache__").write_text("not a directory")
    assert remembered(file, read) == ["X = 1"]
    (file.parent / "__pycache__").unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert remembered(file, read) == ["X = 1"]
    assert [path.name for path in file.parent.iterdir()] == ["module.py"]
