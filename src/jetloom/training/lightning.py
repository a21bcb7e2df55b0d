"""Lightning, without the two packages that it imports and a training here never uses; all of jetloom imports it here.

They are most of the start of a process: torchmetrics, of which Lightning asks whether what is logged is one of its
metrics, with SciPy's signals and matplotlib; and torch.compile's front end. Both are executed as soon as somebody uses
more of them than this.
"""

from importlib.metadata import version

from jetloom.system.compiler import compile_later
from jetloom.system.later import later, stand_in

later(
    "torchmetrics",
    # Which Lightning compares with its own requirements.
    __version__=version("torchmetrics"),
    Metric=stand_in("torchmetrics", "Metric"),
    MetricCollection=stand_in("torchmetrics", "MetricCollection"),
)
compile_later()

from lightning.fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from lightning.pytorch import (  # noqa: E402
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.core.optimizer import LightningOptimizer  # noqa: E402

__all__ = [
    "Callback",
    "LightningDataModule",
    "LightningEnvironment",
    "LightningModule",
    "LightningOptimizer",
    "SLURMEnvironment",
    "Trainer",
    "seed_everything",
]
