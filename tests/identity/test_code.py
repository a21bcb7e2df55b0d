"""A fingerprint follows what code computes, not how it is worded."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jetloom
from jetloom.identity import code

PACKAGE = Path(jetloom.__file__).parent


def fingerprints(package_parent: Path) -> list[str]:
    program = (
        "from jetloom.identity.code import fingerprint, model_fingerprint as m;"
        "print(fingerprint('jetloom.training.train'), m('salt'), m('part'), fingerprint('jetloom.data.prepare.skim'), "
        "fingerprint('jetloom.evaluation.evaluate', without='jetloom.models'))"
    )
    environment = {"PYTHONPATH": str(package_parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.seconds
def test_only_what_computes_counts(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "jetloom", ignore=shutil.ignore_patterns("__pycache__"))
    before = fingerprints(tmp_path)
    assert len(set(before)) == 5

    salt = tmp_path / "jetloom/models/salt.py"
    text = salt.read_text()
    salt.write_text('"""Another docstring."""\n# and a comment\n\n' + text.split('"""', 2)[2])
    assert fingerprints(tmp_path) == before

    salt.write_text(text + "\n\nWIDTH = 3\n")
    after = fingerprints(tmp_path)
    assert after[1] != before[1]
    assert [after[0], *after[2:]] == [before[0], *before[2:]]

    salt.write_text(text)
    kinematics = tmp_path / "jetloom/kinematics.py"
    kinematics.write_text(kinematics.read_text() + "\n\nUNIT = 'GeV'\n")
    assert fingerprints(tmp_path)[2] != before[2]


def test_every_python_writes_the_same():
    """Fields that a newer Python adds are empty in code that an older one reads: ``type_params`` of 3.12 and later."""
    text = '''"""A module."""


def half(x: float, y=None) -> float:
    """Half of it."""
    ...
    return f"{x / 2:.1f}"
'''
    half = (
        "FunctionDef(name='half', args=arguments(args=[arg(arg='x', annotation=Name(id='float', ctx=Load())), "
        "arg(arg='y')], defaults=[Constant()]), body=[Return(value=JoinedStr(values=[FormattedValue(value=BinOp("
        "left=Name(id='x', ctx=Load()), op=Div(), right=Constant(value=2)), conversion=-1, format_spec=JoinedStr("
        "values=[Constant(value='.1f')]))]))], returns=Name(id='float', ctx=Load()))"
    )
    assert code.written(ast.parse(text)) == f"Module(body=[{half}])"


@pytest.mark.parametrize(
    "one, other",
    [
        ("x = None", "x = 0"), ("x = 0", "x = False"), ("x = 1", "x = 1.0"), ("x = b''", "x = ''"),
        ("x = []", "x = ()"),
        ("{None: 1}", "{**1}"), ("f(None)", "f()"), ("def f(): return", "def f(): return None"), ("x[:]", "x[None:]"),
        ("def f(*, a, b=1): 0", "def f(*, a=1, b): 0"), ("for a in b:\n 0\n c", "for a in b:\n 0\nelse:\n c"),
        ("f(a)(b)", "f(a, b)"), ("a, = b", "a = b"), ("x = [[]]", "x = []"), ("lambda: 0", "lambda: 0.0"),
    ],
)  # fmt: skip
def test_different_code_is_written_differently(one, other):
    assert code.written(ast.parse(one)) != code.written(ast.parse(other))


TASKS = {"contrastive": "views.py", "masked_token": "head.py"}


@pytest.mark.seconds
def test_an_edited_pre_training_is_no_other_classifier(tmp_path):
    """Nor does it change what trainings and evaluations in general are made from."""
    shutil.copytree(PACKAGE, tmp_path / "jetloom", ignore=shutil.ignore_patterns("__pycache__"))
    of_tasks = """
from jetloom.catalogue.cards import names
from jetloom.config import resolve_tasks
from jetloom.evaluation.made_from import evaluation_fingerprint
from jetloom.training.made_from import task_fingerprint

options = {"regression": {"target": "jet_mass"}}
for name in names("tasks"):
    print(f"{name}={task_fingerprint(resolve_tasks({name: options.get(name)}, ''))}")
print(f"evaluation={evaluation_fingerprint(['classification'])}")
"""

    def found() -> dict[str, str]:
        environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
        line = [sys.executable, "-c", of_tasks]
        said = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout.split()
        return dict(item.split("=") for item in said) | {"all": str(fingerprints(tmp_path))}

    before = found()
    assert {"classification", "regression", *TASKS} <= before.keys()
    for task, file in TASKS.items():
        path = tmp_path / "jetloom/tasks" / task / file
        path.write_text(path.read_text() + "\n\nEDITED = 1\n")
        after = found()
        assert {name for name in before if after[name] != before[name]} == {task}
        before = after
