"""What a verb works on is said once: by a configuration, or by hand."""

import pytest

from jetloom.cli import main

VERBS = {
    "train": ["train", "manifest.json", "--output=out", "--scratch=scratch"],
    "evaluate": ["evaluate", "best.ckpt", "manifest.json", "--output=out"],
    "cost": ["cost", "manifest.json", "--output=cost.json"],
}
BOTH = ["--config=config.yaml", "--run=jetclass-sim/salt/seed1"]


def refused(verb: str, *more: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*VERBS[verb], *more])
    return str(ended.value)


@pytest.mark.parametrize("given", BOTH)
@pytest.mark.parametrize("verb", VERBS)
def test_a_configuration_and_a_training_of_it_go_together(verb: str, given: str) -> None:
    assert refused(verb, given) == f"jetloom: {verb}: --config and --run are given together or not at all"


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("train", ["--set=epochs=3"]),
        ("train", ["--seed=2", "--title=Mine"]),
        ("train", ["--model=salt", "--preset=tiny"]),
        ("evaluate", ["--set=bootstrap=3"]),
        ("cost", ["--set=seconds=1"]),
        ("cost", ["--model=salt"]),
    ],
)
def test_what_would_not_count_beside_them_is_refused(verb: str, more: list[str]) -> None:
    said = refused(verb, *BOTH, *more)
    named = {option.partition("=")[0] for option in more}
    assert said.startswith(f"jetloom: {verb}: ") and "would not count beside --config and --run" in said
    assert set(said.split(": ")[2].split(", ")) == named


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_what_a_training_is_called(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in angle brackets is taken for markup and goes."""
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "jetclass-sim/salt" in capsys.readouterr().out
