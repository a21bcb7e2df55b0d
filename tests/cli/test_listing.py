"""What `jetloom models` and `jetloom datasets` print when their output goes to a file."""

import pytest

from jetloom.catalogue import cards
from jetloom.catalogue.options import options
from jetloom.cli import main

# Parameters with 17 features and 10 classes, as the papers or their code count them.
PUBLISHED = {
    "part": 2_143_486,
    "part_plain": 2_133_918,
    "particlenet": 370_156,
    "particlenet_lite": 28_428,
    "pfn": 86_154,
    "pcnn": 354_540,
    "parmat": 5_317_758,
}


def printed(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.seconds
def test_every_architecture_is_a_row_with_its_published_size(capsys):
    lines = printed(capsys, "models").splitlines()
    rows = {line.split()[0]: line.split()[1] for line in lines if line.startswith("  ") and len(line.split()) > 3}
    assert set(cards.names("models")) <= set(rows)
    assert {name: int(rows[name].replace(",", "")) for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("name", cards.names("models"))
def test_one_architecture_lists_its_options_and_presets(capsys, name):
    out = printed(capsys, "models", name)
    assert all(f"\n  {option} " in out for option in options(name))
    assert all(f"preset {preset}" in out for preset in cards.model_card(name).presets)


def test_every_data_set_is_a_row(capsys, tmp_path):
    out = printed(capsys, "datasets", f"--data={tmp_path}")
    assert all(f"\n  {name} " in out for name in cards.names("datasets"))


def test_simulated_raw_files_are_found_where_the_workflow_puts_them(capsys, tmp_path):
    """One directory for each number of jets; the small sets share the files of the large one."""
    for place, names in {
        "jetclass-sim/raw-0000000001": ["HToBB_000.root", "HToCC_000.root"],
        "jetclass-sim/raw-0000000002": ["HToBB_000.root", "HToBB_001.root"],
        "jetclass-sim/raw": ["HToGG_000.root"],
        "jetclass/raw": ["HToBB_000.root"],
    }.items():
        (tmp_path / place).mkdir(parents=True)
        for name in names:
            (tmp_path / place / name).write_bytes(bytes(1000))
    lines = printed(capsys, "datasets", f"--data={tmp_path}").splitlines()
    here = {line.split()[0]: line for line in lines if line.startswith("  jetclass")}
    assert "3 of 30, 4.0 kB" in here["jetclass-sim"]
    assert "1 of 1250, 1.0 kB" in here["jetclass"]
    assert " 1 of " in here["jetclass-2M"]


def test_every_task_is_a_row_with_its_options(capsys):
    lines = printed(capsys, "tasks").splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith("  ") and len(line.split()) > 2}
    assert set(cards.names("tasks")) <= rows.keys()
    assert "target relative_to=None" in rows["regression"]
    assert "accuracy (higher)" in rows["classification"]
