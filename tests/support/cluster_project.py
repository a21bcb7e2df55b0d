"""A copy of the project whose user works on a cluster."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.project import Project
from tests.support.slurm import Cluster


@dataclass
class ClusterProject(Project):
    """A clone whose user works on the cluster."""

    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        site, own = self.cluster.environment, super().environment
        shims, *system = site["PATH"].split(":")
        path = ":".join([shims, own["PATH"].split(":")[0], *system])
        return own | site | {"PATH": path, "PYTHONPATH": own["PYTHONPATH"]}

    def start(self, *arguments: str, profile: str = "slurm") -> subprocess.Popen[str]:
        """Start a driver; its words go to driver.log."""
        with (self.path / "driver.log").open("a") as log:
            return subprocess.Popen(
                ["snakemake", "--profile", profile, *arguments],
                cwd=self.path,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["snakemake", "--profile", "slurm", *arguments]
        return subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=900)


def settle(path: Path) -> None:
    """Write the site's values into the profile, as a user would, and less waiting than for a site of thousands."""
    file = path / "profiles/slurm/config.yaml"
    profile = yaml.safe_load(file.read_text())
    profile |= {"latency-wait": 5, "slurm-init-seconds-before-status-checks": 1, "max-status-checks-per-second": 2}
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
    profile["jobs"] = 6
    profile["group-components"] = ["skims=3", "shards=10"]
    for resources in profile["set-resources"].values():
        resources["mem_mb"] = "1500 * attempt"
    profile["set-resources"]["train_model"] |= {
        "mem_mb": "200 if wildcards.model == 'hungry' and attempt == 1 else 1500",
        "slurm_partition": "{'preempted': 'low', 'lost': 'frail'}.get(wildcards.model, 'gpu')",
    }
    file.write_text(yaml.safe_dump(profile))
