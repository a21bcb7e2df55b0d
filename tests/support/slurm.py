"""A real SLURM on this machine: munged, slurmctld, one slurmd for each virtual node; no systemd, no database."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

CPUS = 64
MEMORY_MB = 200_000
"""Of each node, both as SLURM is told; more than this machine has, so that jobs need not wait for each other."""
GPUS = ("full", "null", "random", "urandom", "zero")
"""Devices that pretend to be the GPUs of a node; each must be another one."""
CLIENTS = ("srun", "sbatch", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr", "sshare")
DAEMONS = ("munged", "slurmctld", "slurmd")
SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
CGROUPS = Path("/sys/fs/cgroup")


def missing_programs() -> list[str]:
    """Programs that Debian's packages slurm-wlm and munge would bring."""
    return [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=SYSTEM_PATH) is None]


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nobody listens on, below those that connections of other tests are given."""
    found: set[int] = set()
    while len(found) < number:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
            found.add(probe.getsockname()[1])
    return list(found)


def wait_until(ready, seconds: float, what: str) -> None:
    """Ask until the answer is true.

    Raises:
        TimeoutError: it was not, in time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


@dataclass
class Cluster:
    """Four virtual nodes with pretended GPUs.

    ``main`` and ``gpu`` share the first two. ``low`` (the third) gives way to ``urgent`` (the same): SLURM requeues its
    jobs. ``frail`` (the fourth) is a node that may be taken down.

    Nodes and jobs have names of their own: the kernel's control groups are called after both, and a cluster that ends
    a job ends every process in that job's group, also those of another cluster on this machine.

    Args:
        directory: with a short name, for the path of munge's socket; readable by all.
    """

    directory: Path
    pids: list[int] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"j{secrets.token_hex(3)}")

    @property
    def nodes(self) -> list[str]:
        """Names of the four."""
        return [f"{self.name}n{number}" for number in range(1, 5)]

    @property
    def environment(self) -> dict[str, str]:
        """What commands of this cluster's users see."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        # Names of virtual nodes are in no table of hosts.
        return kept | {
            "SLURM_CONF": f"{self.directory}/slurm.conf",
            "PATH": f"{self.directory}/bin:{SYSTEM_PATH}",
            "MASTER_ADDR": "127.0.0.1",
            "GLOO_SOCKET_IFNAME": "lo",
            # The GPUs that SLURM gives to a job are none.
            "JETLOOM_CPU": "1",
        }

    def start(self) -> None:
        """Start all daemons and wait for the nodes.

        Raises:
            TimeoutError: they did not come up.
        """
        self._write()
        here = self.directory / "munge"
        words = [f"--{name}={here}/{file}" for name, file in (
            ("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"),
        )]  # fmt: skip
        self._daemon("munged", *words, pid=here / "pid")
        self._daemon("slurmctld", "-c", pid=self.directory / "slurmctld.pid")
        for node in self.nodes:
            self._daemon("slurmd", "-N", node, pid=self.directory / f"slurmd.{node}.pid")
        wait_until(
            lambda: (
                self.run("sinfo", "-h", "-N", "-p", "gpu,low,frail", "-o", "%T").split() == ["idle"] * len(self.nodes)
            ),
            *(120, "nodes of the SLURM cluster"),
        )

    def run(self, *command: str) -> str:
        """What a command of a user says.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            command, env=self.environment, cwd=self.directory, check=True, capture_output=True, text=True, timeout=120
        )
        return done.stdout.strip()

    def stop(self) -> None:
        """End all jobs and daemons and remove their control groups."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", "--full", "--user", str(os.getuid()))
            wait_until(lambda: not self.run("squeue", "-h"), 30, "end of the jobs")
        for pid in reversed(self.pids):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.terminate()
                with suppress(psutil.TimeoutExpired):
                    process.wait(10)
        for group in (path for kind in ("freezer", "memory") for path in CGROUPS.glob(f"{kind}/slurm_{self.name}n?")):
            for inner in sorted(group.glob("**/"), key=lambda path: -len(path.parts)):
                with suppress(OSError):
                    inner.rmdir()

    def _daemon(self, name: str, *arguments: str, pid: Path) -> None:
        command = [shutil.which(name, path=SYSTEM_PATH), *arguments]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=120)
        try:
            wait_until(lambda: pid.is_file() and pid.read_text().strip(), 120, f"start of {name}")
        except TimeoutError as error:
            logs = [path.read_text()[-2000:] for path in sorted(self.directory.glob("**/*log*")) if path.is_file()]
            raise TimeoutError("\n".join([str(error), *logs])) from None
        self.pids.append(int(pid.read_text()))

    def _write(self) -> None:
        here = self.directory
        here.chmod(0o755)
        for name in ("munge", "bin", "state"):
            (here / name).mkdir()
        key = here / "munge/key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        (here / "slurm.conf").write_text(self._settings())
        (here / "gres.conf").write_text(
            "".join(f"NodeName={self.name}n[1-4] Name=gpu Type=pretended File=/dev/{file}\n" for file in GPUS)
        )
        (here / "cgroup.conf").write_text(
            f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={CGROUPS}\nCgroupAutomount=no\nConstrainRAMSpace=yes\n"
        )
        for name in CLIENTS:
            # The plugin's job step removes SLURM_CONF from the environment, which a site with /etc/slurm does not miss.
            shim, program = here / "bin" / name, shutil.which(name, path=SYSTEM_PATH)
            shim.write_text(f'#!/bin/sh\nSLURM_CONF={here}/slurm.conf exec {program} "$@"\n')
            shim.chmod(0o755)

    def _settings(self) -> str:
        controller, *ports = free_ports(1 + len(self.nodes))
        here, host, user = self.directory, socket.gethostname().split(".")[0], psutil.Process().username()
        # Control groups of version 1 end all processes of a job; without them those outside its process tree live on.
        grouped = os.getuid() == 0 and all(os.access(CGROUPS / kind, os.W_OK) for kind in ("freezer", "memory"))
        tracking = "cgroup" if grouped else "linuxproc"
        lines = [
            "ClusterName=jetloom",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            # A requeued job waits until its credential has expired.
            f"AuthInfo=socket={here}/munge/socket,cred_expire=5",
            "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
            f"StateSaveLocation={here}/state",
            f"SlurmdSpoolDir={here}/spool.%n",
            f"SlurmctldPidFile={here}/slurmctld.pid",
            f"SlurmdPidFile={here}/slurmd.%n.pid",
            f"SlurmctldLogFile={here}/slurmctld.log",
            f"SlurmdLogFile={here}/slurmd.%n.log",
            "SlurmdParameters=config_overrides",
            f"ProctrackType=proctrack/{tracking}",
            f"TaskPlugin=task/{'cgroup' if grouped else 'none'}",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=2",
            f"JobAcctGatherParams={'UsePss' if grouped else 'UsePss,OverMemoryKill'}",
            "AccountingStorageType=accounting_storage/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            "SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            "JobRequeue=1",
            "JobFileAppend=1",
            "MinJobAge=3600",
            f"FirstJobId={1 + 1000 * secrets.randbelow(10_000)}",
            "KillWait=10",
            "ReturnToService=1",
            "MailProg=/bin/true",
            "GresTypes=gpu",
        ]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS}"
            f" RealMemory={MEMORY_MB} Gres=gpu:pretended:{len(GPUS)}"
            for node, port in zip(self.nodes, ports, strict=True)
        ]
        first, second, third, fourth = self.nodes
        shared = "MaxTime=2880 DefMemPerCPU=500 State=UP OverSubscribe=NO"
        lines += [
            f"PartitionName=main Nodes={first},{second} Default=YES PriorityTier=10 PreemptMode=OFF {shared}",
            f"PartitionName=gpu Nodes={first},{second} PriorityTier=10 PreemptMode=OFF {shared}",
            f"PartitionName=low Nodes={third} PriorityTier=1 PreemptMode=REQUEUE {shared}",
            f"PartitionName=frail Nodes={fourth} PriorityTier=10 PreemptMode=OFF {shared}",
            f"PartitionName=urgent Nodes={third} PriorityTier=20 PreemptMode=OFF {shared}",
        ]
        return "\n".join(lines) + "\n"
