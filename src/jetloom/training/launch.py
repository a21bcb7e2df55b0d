"""How many processes train together, who starts them, and the proof that all of them are there."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch

from jetloom.config import Training
from jetloom.errors import JetloomError
from jetloom.system.device import CPU, check_gpus, exactly, gpu
from jetloom.training.lightning import Callback, LightningEnvironment, LightningModule, SLURMEnvironment, Trainer

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def started_by_srun(environment: Mapping[str, str] = os.environ) -> int:
    """Processes of the job step that this one belongs to; 1 outside SLURM and in a job's own script."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", 1))


def rank(environment: Mapping[str, str] = os.environ) -> int:
    """Number of this process among those of one training, before any of them knows the others."""
    # Not the sum: with srun every process has a local rank of its own as well.
    name = "SLURM_PROCID" if started_by_srun(environment) > 1 else "LOCAL_RANK"
    return int(environment.get(name, 0))


def check_launch(training: Training, environment: Mapping[str, str] = os.environ) -> None:
    """Compare what is asked for with what was started, before any process waits for the others.

    Processes on one machine are started by Lightning, those on several by srun.

    Raises:
        JetloomError: another number of processes or machines, more GPUs than there are, GPUs that torch cannot use, or
            none where one is needed.
    """
    check_gpus()
    wanted = training.devices * training.nodes
    started, nodes = started_by_srun(environment), int(environment.get("SLURM_STEP_NUM_NODES", 1))
    asked = f"training.devices x training.nodes is {training.devices} x {training.nodes}"
    if started not in (1, wanted) or (started > 1 and nodes != training.nodes):
        raise JetloomError(
            f"{asked}, but srun started {started} processes on {nodes} machines; give srun --nodes={training.nodes} "
            f"--ntasks-per-node={training.devices}"
        )
    if started == 1 and training.nodes > 1:
        raise JetloomError(
            f"{asked}: several machines need SLURM; run the workflow with --profile slurm, or this command with srun "
            f"--nodes={training.nodes} --ntasks-per-node={training.devices}"
        )
    if training.compile == "graphs" and not gpu():
        raise JetloomError("training.compile is graphs, and there is no GPU; set it to auto, off or inductor")
    if gpu() and torch.cuda.device_count() < training.devices:
        raise JetloomError(
            f"{asked}, but this job sees {torch.cuda.device_count()} GPUs; lower training.devices or ask for more GPUs"
        )


class Count(Callback):
    """Lets every process raise its hand before the first batch; one too few would be a part of the data not seen.

    Args:
        wanted: processes.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum a one over all processes.

        Raises:
            JetloomError: the sum, or what Lightning believes, is not what was asked for.
        """
        hands = int(trainer.strategy.reduce(torch.ones((), device=pl_module.device), reduce_op="sum"))
        if not hands == trainer.world_size == self.wanted:
            raise JetloomError(
                f"training.devices x training.nodes is {self.wanted}, but {hands} processes train together (Lightning "
                f"counts {trainer.world_size}); each would see a part of the data only"
            )


def build_trainer(training: Training, callbacks: list[Any]) -> Trainer:
    """A trainer that does what the callbacks say and nothing of its own, after :func:`check_launch`."""
    several = training.devices * training.nodes > 1
    exactly(tf32=training.precision == "tf32")
    # One owner of a requeue: SLURM, or Snakemake's retries; not Lightning.
    processes = SLURMEnvironment(auto_requeue=False) if started_by_srun() > 1 else LightningEnvironment()
    return Trainer(
        max_epochs=-1,
        min_epochs=0,
        accelerator="cpu" if os.environ.get(CPU) else "auto",
        devices=training.devices,
        num_nodes=training.nodes,
        strategy="ddp" if several else "auto",
        plugins=[processes],
        precision=_precision(training.precision),
        gradient_clip_val=training.gradient_clip,
        callbacks=[Count(training.devices * training.nodes), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        benchmark=True,
    )


def _precision(wanted: str) -> Precision:
    if wanted == "auto":
        if not gpu():
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    named: dict[str, Precision] = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    return named[wanted]
