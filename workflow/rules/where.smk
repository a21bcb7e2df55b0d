"""Where jobs run: their GPUs, and what a training on several machines asks a cluster for."""

from snakemake.settings.types import DeploymentMethod

from jetloom.system.gpus import share
from jetloom.workflow.machines import on_machines, one_machine

# Jobs that run beside this driver take turns at the machine's GPUs; a cluster gives its jobs their own. The executor is
# not known yet, but only one of a cluster counts nodes (--jobs).
if workflow.is_main_process and workflow.resource_settings.nodes is None:
    GPUS = share()
    if GPUS and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", len(GPUS))

# Servers of public data take a few connections from one address. `--resources downloads=8` asks for more.
if workflow.is_main_process and "downloads" not in workflow.global_resources:
    workflow.register_resource("downloads", 4)


# With --sdm apptainer jobs run in the image that envs/jetloom.def describes (docs/containers.md).
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: "jetloom.sif"


onstart:
    # Jobs that a killed driver has left would train beside those that this one submits.
    if workflow.non_local_exec:
        shell("jetloom cancel-orphans")
    # Snakemake 9 limits jobs per second where nobody asks for it, by a timer that each look at the ready jobs starts anew
    # and that ends in another look: after hundreds of jobs it looks hundreds of times a second.
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
