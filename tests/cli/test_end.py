"""How the program ends."""

import signal
import subprocess
import sys

import pytest

PROGRAM = r"""
import atexit, os, sys, threading, time
from jetloom.cli import __main__ as program

class Held:
    def __del__(self, write=os.write):
        write(1, b"taken apart\n")

sys.held = Held()

def main():
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    atexit.register(lambda: print("registered"))
    print("said")
    {end}

program.main = main
program.run()
"""


def program(end: str) -> tuple[int, list[str], str]:
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(end=end)], capture_output=True, text=True)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


@pytest.mark.parametrize(
    ("end", "status", "text"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('jetloom: no such file')", 1, "jetloom: no such file\n"),
    ],
)
def test_what_is_to_be_done_at_the_end_is_done_and_no_more(end: str, status: int, text: str) -> None:
    """Into a pipe, which Python flushes late."""
    assert program(end) == (status, ["said", "thread", "registered"], text)


@pytest.mark.parametrize(
    ("end", "status"), [("raise KeyboardInterrupt", -signal.SIGINT), ("raise RuntimeError('a mistake of ours')", 1)]
)
def test_what_was_not_foreseen_ends_as_python_does(end: str, status: int) -> None:
    found, said, text = program(end)
    assert found == status and said == ["said", "thread", "registered", "taken apart"]
    assert text.startswith("Traceback") and end.removeprefix("raise ").split("(")[0] in text.splitlines()[-1]
