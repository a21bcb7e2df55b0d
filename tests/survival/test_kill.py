"""kill -9 in the middle of each verb: what is left does not count, and the next try ends like an undisturbed one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kills import DIES
from tests.support.verbs import EACH_VERB, Verb, content, left

pytestmark = pytest.mark.seconds


def killed(verb: Verb, whole: Path, output: Path, count: int) -> None:
    """The verb, dead when it has written its file of that number."""
    command = [sys.executable, "-c", DIES, str(count), *verb.arguments(whole, output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@EACH_VERB
def test_same_result_after_a_kill(whole: Path, tmp_path: Path, verb: Verb) -> None:
    # Of a training the third is a checkpoint in the first epoch; of the report, a figure among others.
    killed(verb, whole, tmp_path, {"train": 3, "evaluate": 2, "report": 4}.get(verb.name, 1))
    partial = [name for name in left(tmp_path) if "partial" in name]
    assert partial
    assert not any((tmp_path / name).exists() for name in verb.outputs if name != "predictions.parquet")
    # As if the kill had come in the middle of the file.
    for name in partial:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[: (tmp_path / name).stat().st_size // 2])
    verb.run(whole, tmp_path)
    for name in verb.outputs:
        assert content(tmp_path / name) == content(whole / name), name
    assert not [name for name in left(tmp_path) if "partial" in name]
