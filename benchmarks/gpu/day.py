"""The day on a GPU: whether everything is right there, then how fast it is.

    python benchmarks/gpu/day.py wheels wheels/                 # beforehand, where packages can be fetched
    python benchmarks/gpu/day.py all --wheels wheels/           # there: one process for each part
    python benchmarks/gpu/day.py rows learning --wheels wheels/ # there: some parts

The machine needs Python, torch with CUDA, lightning and a few common packages; the rest is some small wheels. A part
stops by itself within ten minutes, says what it left out, and writes ``PART.json`` as it goes.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = {
    "rows": "each row of the registry against the CPU, in 32 and bf16",
    "learning": "losses of 300 steps within the spread of seeds on the CPU",
    "resume": "a killed training goes on as one that was not",
    "processes": "NCCL with one process",
    "kernels": "ParT with the kernels in Triton: the same answers and gradients, and in what time",
    "part-training": "ParT beside weaver-core",
    "part-inference": "ParT beside weaver-core",
    "small": "SAL-T and Linformer: their kernel beside the formula, rates beside plain torch",
    "trainings": "jets/s of whole trainings, loader and Lightning included",
    "profile": "where the time of a step of ParT and of SAL-T goes",
}
THERE = ("lightning", "matplotlib", "numpy", "psutil", "pyarrow", "pyyaml", "rich", "scipy", "torch")
"""What such a machine has, with what these need."""
WHEELS = ("annotated-types", "pydantic", "pydantic-core", "tenacity", "typing-inspection", "weaver-core")
"""What jetloom and its peer import beyond that; the versions are the lock's."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
LIMIT = 600
"""Seconds of a part."""


def fetch(directory: Path, python: str) -> None:
    """Wheels for the machine with the GPU, with the versions of ``envs/requirements.lock``.

    Args:
        directory: where to.
        python: version there, as 3.12.
    """
    lines = (ROOT / "envs" / "requirements.lock").read_text().splitlines()
    pinned = [line.split()[0] for line in lines if line.split("==")[0].replace("_", "-") in WHEELS]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    subprocess.run([*command, f"--python-version={python}", *platforms, f"--dest={directory}", *pinned], check=True)


def install(wheels: Path, target: str) -> None:
    """Unpack carried wheels into a directory; nothing is fetched and nothing else is touched."""
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        sys.exit(f"day.py: {wheels} holds no wheels; `day.py wheels {wheels}` fetches them where there is a network")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*command, f"--target={target}", *files], check=True)
    sys.path.insert(0, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the number of parts in which something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", metavar="PART", help=f"wheels DIR, all, or some of {', '.join(PARTS)}")
    parser.add_argument("--wheels", type=Path, help="directory of carried wheels")
    parser.add_argument("--python", default="3.12", help="of the machine that wheels are fetched for")
    parser.add_argument("--data", type=Path, help="manifest.json of carried jets; default: made-up ones")
    parser.add_argument("--scratch", type=Path, default=ROOT / "scratch" / "gpu-day", help="for jets and trainings")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu")
    parser.add_argument("--seconds", type=float, default=LIMIT - 60, help="after which a part begins nothing new")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: a rehearsal")
    given = parser.parse_args(arguments)
    if given.parts[0] == "wheels":
        if len(given.parts) != 2:
            parser.error("wheels: name one directory")
        fetch(Path(given.parts[1]), given.python)
        return 0
    parts = list(PARTS) if given.parts == ["all"] else given.parts
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; there are all, {', '.join(PARTS)}")
    sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "src")]
    with tempfile.TemporaryDirectory() as target:
        if given.wheels is not None:
            install(given.wheels, target)
        from card import found

        card = found()
        if len(parts) == 1 or given.tiny:
            from work import carry_out

            return sum(not carry_out(part, card, given) for part in parts)
        rest = list(sys.argv[1:] if arguments is None else arguments)
        options = [word for word in rest if word not in (*PARTS, "all")]
        # A part that dies or hangs takes no other one with it.
        return sum(_alone([part, *options]) for part in parts)


def _alone(words: list[str]) -> bool:
    print(f"== {words[0]}", flush=True)
    try:
        return bool(subprocess.run([sys.executable, __file__, *words], timeout=LIMIT, check=False).returncode)
    except subprocess.TimeoutExpired:
        print(f"{words[0]}: stopped after {LIMIT} s; what it had written stays")
        return True


if __name__ == "__main__":
    sys.exit(main())
