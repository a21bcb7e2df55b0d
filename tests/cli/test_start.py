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
