"""Where the time of some steps goes."""

import gzip
import json

import pytest

from tests.support.outcome import assert_same


@pytest.mark.seconds
def test_some_steps_are_looked_at_and_nothing_else_changes(run_training, tmp_path, capsys) -> None:
    watched = run_training("watched", epochs=2, profile_steps=3)
    profile = tmp_path / "watched-profile"
    assert f"Profile of 3 steps: {profile}" in capsys.readouterr().out
    assert sorted(path.name for path in profile.iterdir()) == ["table.txt", "trace.json.gz"]
    table = (profile / "table.txt").read_text()
    # Of the second epoch; each bucket of 300 jets is five batches of 60.
    assert table.startswith("3 steps, 180 jets, ") and "in steps: " in table and "between them" in table
    events = json.loads(gzip.decompress((profile / "trace.json.gz").read_bytes()))["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert "aten::" in table and names.count("aten::cross_entropy_loss") == 3
    assert_same(watched, run_training("alone", epochs=2))


@pytest.mark.seconds
def test_no_more_steps_than_the_epoch_has_and_none_of_the_first(run_training, tmp_path, capsys) -> None:
    run_training("long", epochs=3, batch_size=150, profile_steps=1000)
    assert (tmp_path / "long-profile" / "table.txt").read_text().startswith("2 steps, 300 jets, ")
    run_training("short", epochs=2, batch_size=150, profile_steps=3)
    assert "No profile: 8 steps, of which the first 10 are not looked at" in capsys.readouterr().out
    assert not (tmp_path / "short-profile").exists()
