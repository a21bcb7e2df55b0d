"""What a command costs before it does anything."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["skim", "--help"]])
def test_help_imports_no_torch(arguments):
    """Nor the other large libraries: help comes at once."""
    code = (
        "import sys\n"
        "from jetloom.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'lightning', 'mlflow', 'awkward', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert said.stdout.rstrip().endswith("[]"), said.stdout + said.stderr
    assert len(said.stdout.splitlines()) > 1


def test_planning_hashes_code_without_importing_it():
    """Neither torch nor matplotlib, although the keys hash the code that uses them."""
    code = (
        "import sys\n"
        "from jetloom.config import parse_experiment\n"
        "from jetloom.workflow.plan import Plan\n"
        "plan = Plan(parse_experiment({'experiment': 'x', 'datasets': ['jetclass'], 'models': ['part', 'macaron'],"
        " 'seeds': [1], 'preset': 'jetclass'}))\n"
        "keys = [plan.report_key(), *(training.key for training in plan.trainings.values())]\n"
        "keys += [plan.cost_key('jetclass', 'part'), plan.evaluation_key('jetclass', 'part')]\n"
        "print(len(set(keys)), sorted({'torch', 'lightning', 'mlflow', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "5 []\n"
