"""The command of the day on a GPU, rehearsed: no minute of a card is lost on a mistake that shows without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAY = ROOT / "benchmarks" / "gpu" / "day.py"


@pytest.mark.slow
def test_all_parts_on_a_pretended_gpu(tmp_path: Path) -> None:
    output = tmp_path / "results"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.gpu_day", str(output), str(tmp_path / "scratch")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {"rows", "learning", "resume", "processes", "kernels", "part-training", "part-inference", "small"}
    found = {path.stem: json.loads(path.read_text()) for path in output.glob("*.json")}
    assert found.keys() == parts | {"trainings", "profile"}
    for part in found.values():
        assert part["machine"]["card"] == "pretended H100" and part["machine"]["date"] and part["jets"] == "made up"
        assert part["pieces"] and not part["left_out"]
    for piece in (found["part-training"]["pieces"] | found["small"]["pieces"]).values():
        for contender in piece.get("contenders", {}).values():
            assert contender["jets_per_second"] > 0 and contender["share_of_matrix_rate"] > 0
    assert found["small"]["pieces"]["salt, mask: real, the same, 32"]["formula"] < 1e-6
    assert "jetloom, one kernel" in found["small"]["pieces"]["salt, inference, batch 8"]["contenders"]
    weaver = found["part-training"]["pieces"]["part"]["contenders"]
    assert weaver["weaver-core"]["share_of_copy_rate"] > 0
    assert max(weaver[name]["over_peer"] for name in ("weaver-core", "weaver-core, compiled")) == 1.0
    assert (output / "profile-part.json.gz").stat().st_size


@pytest.mark.seconds
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DAY), "all", "--output", str(tmp_path)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and not done.stdout and not any(tmp_path.iterdir())
    assert done.stderr.startswith("day.py: torch ") and "sees no GPU on this machine" in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_carried_wheel_has_a_version(monkeypatch) -> None:
    """``day.py wheels`` takes the lock's."""
    monkeypatch.syspath_prepend(str(DAY.parent))
    import day

    asked: list[list[str]] = []
    monkeypatch.setattr(day.subprocess, "run", lambda command, check: asked.append(command))
    day.fetch(Path("wheels"), "3.12")
    assert sorted(word.split("==")[0].replace("_", "-") for word in asked[0] if "==" in word) == sorted(day.WHEELS)
