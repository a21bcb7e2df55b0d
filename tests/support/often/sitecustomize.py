"""On a test's PYTHONPATH: Snakemake's driver asks SLURM every two seconds, where the plugin would wait ever longer."""

import sys

if any("snakemake" in argument for argument in sys.orig_argv[:3]) and "--profile" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 2.0, lambda self, value: None)
