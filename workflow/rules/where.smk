"""Where jobs run: their GPUs, and what a training on several machines asks a cluster for."""

from jetloom.system.gpus import share
from jetloom.workflow.machines import on_machines, one_machine

# Jobs that run beside this driver take turns at the machine's GPUs; a cluster gives its jobs their own. The executor is
# not known yet, but only one of a cluster counts nodes (--jobs).
if workflow.is_main_process and workflow.resource_settings.nodes is None:
    GPUS = share()
    if GPUS and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", len(GPUS))


# Jobs that a killed driver has left would train beside those that this one submits.
onstart:
    if workflow.non_local_exec:
        shell("jetloom cancel-orphans")
