"""Where jobs run: their GPUs, and how a training on several machines is started."""

from jetloom.gpus import visible

# Jobs that run beside this driver take turns at the machine's GPUs; a cluster gives its jobs their own. The executor is
# not known yet, but only one of a cluster counts nodes (--jobs).
ON_THIS_MACHINE = workflow.is_main_process and workflow.resource_settings.nodes is None
GPUS = visible() if ON_THIS_MACHINE else []
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", len(GPUS))


# Jobs that a killed driver has left would train beside those that this one submits.
onstart:
    if workflow.non_local_exec:
        shell("jetloom cancel-orphans")


def take_gpus(count):
    """What a command starts with to get GPUs for itself."""
    return f"jetloom gpus {count}" if GPUS else ""


def gpus_of_training(wildcards):
    """GPUs of a training on one machine; on several each has its own (gres)."""
    recipe = training_of(wildcards)
    return recipe.devices if recipe.nodes == 1 else None


def launch_training(wildcards, threads):
    """What the command of a training starts with: on several machines srun, one process for each GPU."""
    recipe = training_of(wildcards)
    if recipe.nodes == 1 or ON_THIS_MACHINE:
        return take_gpus(recipe.devices)
    return (
        f"srun --kill-on-bad-exit=1 --nodes={recipe.nodes} --ntasks={recipe.nodes * recipe.devices}"
        f" --ntasks-per-node={recipe.devices} --cpus-per-task={max(1, threads // recipe.devices)}"
    )


def on_machines(name):
    """A resource of the SLURM plugin that only trainings on several machines have."""

    def resource(wildcards, threads):
        recipe = training_of(wildcards)
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


def training_of(wildcards):
    """The recipe of a training."""
    return EXPERIMENT.training_of(wildcards.dataset, wildcards.model)
