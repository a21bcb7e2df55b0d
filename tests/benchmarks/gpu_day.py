"""The day on a GPU, in the smallest sizes on a pretended one: ``python -m tests.benchmarks.gpu_day OUTPUT SCRATCH``.

Only what the machine of the day has can be imported. Compilers, NCCL and kernels in Triton do nothing here.
"""

from tests.support import pretended_gpu  # noqa: F401  # isort: skip  (before torch)

import re
import sys
from importlib import metadata
from importlib.util import spec_from_loader
from pathlib import Path
from typing import Any

import torch

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"
sys.path[:0] = [str(GPU), str(GPU.parent)]


class Refusing:
    """Knows no package that the machine does not have.

    Args:
        there: names of what it has; what these need it has too.
        carried: of what is carried to it, without what that needs.
    """

    def __init__(self, there: tuple[str, ...], carried: tuple[str, ...]) -> None:
        known = {name: _plain(names[0]) for name, names in metadata.packages_distributions().items()}
        has, waiting = {_plain(name) for name in carried}, list(map(_plain, there))
        while waiting:
            name = waiting.pop()
            if name not in has:
                has.add(name)
                waiting += [_plain(need) for need in _needs(name)]
        self.refused = {module for module, name in known.items() if name not in has} - {"jetloom", "_distutils_hack"}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        # Others only ask whether there is such a module.
        return spec_from_loader(name, self) if path is None and name in self.refused else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None: ...

    def exec_module(self, module: Any) -> None:
        raise ModuleNotFoundError(f"{module.__name__} is not on the machine of the day", name=module.__name__)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=!~\[(]", name)[0]).lower()


def _needs(name: str) -> list[str]:
    try:
        return [need for need in metadata.requires(name) or [] if "extra ==" not in need]
    except metadata.PackageNotFoundError:
        return []


def main(output: str, scratch: str) -> None:
    import day

    sys.meta_path.insert(0, Refusing(day.THERE, day.WHEELS))  # type: ignore[arg-type]
    torch.set_num_threads(1)
    torch.nn.Module.compile = lambda *_, **__: None  # type: ignore[method-assign]
    torch.compile = lambda function, **_: function  # type: ignore[assignment]
    import processes

    from jetloom.models.fast import triton

    triton.DTYPES = ()
    processes.DistributedDataParallel = lambda network: network  # type: ignore[misc,assignment]
    for name in ("init_process_group", "all_reduce", "destroy_process_group"):
        setattr(processes.distributed, name, lambda *_, **__: None)
    sys.exit(day.main(["all", "--tiny", f"--output={output}", f"--scratch={scratch}"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
