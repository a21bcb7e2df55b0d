"""What a command costs before it does anything."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.seconds


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


def test_a_training_imports_neither_metrics_nor_a_compiler_until_something_is_compiled():
    """They are most of what Lightning imports; optimisers would import the second."""
    code = (
        "import sys, torch\n"
        "import jetloom.training.train\n"
        "from jetloom.training.optimisers import Ranger\n"
        "from jetloom.training.lightning import Trainer\n"
        "weight = torch.nn.Parameter(torch.ones(1))\n"
        "optimiser = Ranger([weight], lr=0.1, weight_decay=0.0)\n"
        "weight.sum().backward()\n"
        "optimiser.step()\n"
        "optimiser.zero_grad()\n"
        "Trainer(logger=False, enable_checkpointing=False, accelerator='cpu')\n"
        "slow = {'sympy', 'scipy.signal', 'matplotlib', 'torchmetrics.metric', 'torch._dynamo.eval_frame', 'mlflow'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
        "from lightning.pytorch.utilities.compile import OptimizedModule\n"
        "plain = torch.nn.Linear(1, 1)\n"
        "compiled = torch.compile(plain, backend='eager')\n"
        "print(isinstance(plain, OptimizedModule), isinstance(compiled, OptimizedModule))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\nFalse True\n", said.stderr
