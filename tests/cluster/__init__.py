"""The workflow on a real SLURM of this machine."""
