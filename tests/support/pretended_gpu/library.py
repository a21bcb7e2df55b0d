"""The half of the pretended GPU that is in C++, compiled for the torch that is installed."""

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")


def load() -> None:
    """Load it, before torch looks for CUDA; compile it if that was not done for this torch yet.

    Raises:
        RuntimeError: no C++ compiler, or it does not compile.
    """
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    torch = Path(spec.origin).parent
    made_of = SOURCE.read_bytes() + (torch / "version.py").read_bytes() + str(torch).encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jetloom-tests"
    library = cache / f"pretended_gpu-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    if not library.is_file():
        _compile(torch, library)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _compile(torch: Path, library: Path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise RuntimeError("the tests of GPUs need a C++ compiler: install g++ (Debian: apt-get install g++)")
    library.parent.mkdir(parents=True, exist_ok=True)
    # Appears whole, as another process may be looking for it.
    partial = library.with_suffix(f".{os.getpid()}")
    include, libraries = torch / "include", torch / "lib"
    done = subprocess.run(
        [compiler, "-std=c++20", "-shared", "-fPIC", str(SOURCE), "-o", str(partial), f"-I{include}",
         f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}", f"-L{libraries}", "-lc10", "-ltorch_cpu",
         f"-Wl,-rpath,{libraries}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{compiler} does not compile {SOURCE}:\n{done.stderr}")
    partial.replace(library)
