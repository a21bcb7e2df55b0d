"""On the PYTHONPATH of every Python that the tests start: the same results with less waiting."""

import atexit
import gc
import sys

# Most of them import, work for a moment and end: a tenth of their time was a search for garbage that is not there.
gc.set_threshold(50_000)
atexit.register(gc.freeze)

if any("snakemake" in argument for argument in sys.orig_argv[:3]):
    from jetloom.system.later import later

    # Of SLURM's plugin, which each job loads, one function needs it.
    later("pandas")
    if "slurm" in sys.orig_argv:
        from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

        # The driver asks SLURM every two seconds, where the plugin would wait ever longer.
        RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 2.0, lambda self, value: None)
