"""A fingerprint follows what code computes, not how it is worded."""

import shutil
import subprocess
import sys
from pathlib import Path

import jetloom

PACKAGE = Path(jetloom.__file__).parent


def fingerprints(package_parent: Path) -> list[str]:
    code = (
        "from jetloom.identity.code import fingerprint, model_fingerprint as m;"
        "print(fingerprint('jetloom.training.train'), m('salt'), m('part'), fingerprint('jetloom.data.prepare.skim'), "
        "fingerprint('jetloom.evaluation.evaluate', without='jetloom.models'))"
    )
    environment = {"PYTHONPATH": str(package_parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


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
