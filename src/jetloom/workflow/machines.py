"""Where a training runs: GPUs of this machine that jobs share, or several machines of a cluster."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jetloom.config import Training
from jetloom.system import gpus
from jetloom.workflow.plan import Plan


def one_machine(recipe: Training) -> int | None:
    """GPUs of a training on one machine; on several, each has its own (``gres``)."""
    return recipe.devices if recipe.nodes == 1 else None


def on_machines(plan: Plan, name: str) -> Callable[[Any, int], Any]:
    """A resource of the SLURM plugin that only trainings on several machines have, as a function for a rule.

    Args:
        plan: of the experiment.
        name: of the resource.
    """

    def resource(wildcards: Any, threads: int) -> Any:
        recipe = plan.training(wildcards).recipe
        if recipe.nodes == 1:
            return None
        return {
            # The plugin's "MPI" jobs start no process of their own.
            "mpi": "srun",
            "nodes": recipe.nodes,
            # It takes no 1 for tasks_per_node, and with both it refuses.
            "tasks": recipe.nodes if recipe.devices == 1 else None,
            "tasks_per_node": recipe.devices if recipe.devices > 1 else None,
            "tasks_per_gpu": 0,
            "cpus_per_task": max(1, threads // recipe.devices),
            "gres": f"gpu:{recipe.devices}",
        }[name]

    return resource


def place(devices: int, nodes: int, threads: int | None, environment: Mapping[str, str] = os.environ) -> None:
    """Get this process its GPUs, or start it again on all machines of its job; before torch is imported.

    A job of a workflow on this machine takes its share of the GPUs. The script of a SLURM job with several nodes
    becomes ``srun``, which starts one process for each GPU.

    Args:
        devices: GPUs per machine.
        nodes: machines.
        threads: CPU threads of the job on each machine.
        environment: of this process.

    Raises:
        JetloomError: this machine has fewer GPUs.
    """
    if gpus.SHARED in environment:
        if nodes == 1:
            gpus.take_shared(devices)
    elif nodes > 1 and "SLURM_JOB_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        os.execvp("srun", [*srun(devices, nodes, threads), sys.executable, "-m", "jetloom.cli", *sys.argv[1:]])


def srun(devices: int, nodes: int, threads: int | None) -> list[str]:
    """The command that starts one process for each GPU of several machines."""
    return [
        *("srun", "--kill-on-bad-exit=1", f"--nodes={nodes}", f"--ntasks={nodes * devices}"),
        *(f"--ntasks-per-node={devices}", f"--cpus-per-task={max(1, (threads or 1) // devices)}"),
    ]
