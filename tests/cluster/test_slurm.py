"""The workflow through ``--profile slurm`` on a real SLURM: what it asks for, and what it survives."""

import csv
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.cluster_project import ClusterProject
from tests.support.outcome import assert_same
from tests.support.servers import Group, home_of_postgres
from tests.support.slurm import Cluster, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EPOCHS = 24
MESHES = {"train": 12, "val": 6, "test": 8}
"""Of each of two classes."""
TROUBLED = ("requeued", "preempted", "lost", "killed", "step", "cancelled", "late", "orphan")
"""Trainings named after what happens to them, half way; all are the same as ``salt``."""
MODELS = ("salt", "pair", "requeued")
"""Of the report."""
CHANGES = {
    **{name: {"based_on": "salt", "title": name} for name in (*TROUBLED, "hungry")},
    # Two machines with one process each, together as many jets per step.
    "pair": {"based_on": "salt", "title": "pair", "training": {"nodes": 2, "batch_size": 4}},
}


def experiment(models: tuple[str, ...], uri: str) -> str:
    """A configuration."""
    values = {
        "experiment": "cluster",
        "datasets": ["shapes-sim"],
        "models": list(models),
        "seeds": [1],
        "preset": "tiny",
        "training": {"epochs": EPOCHS, "batch_size": 8, "checkpoint_minutes": 0.001},
        "per_dataset": {
            "shapes-sim": {
                "classes": ["chair", "table"],
                "splits": {split: [f"{{chair,table}}/{split}"] for split in MESHES},
                "max_particles": 64,
                "buckets": [64],
                "simulation": {"jets": MESHES},
            },
        },
        "per_model": {name: changes for name, changes in CHANGES.items() if name in models},
        "evaluation": {"bootstrap": 20},
        "cost": {"batch_sizes": [1], "particles": [16], "seconds": 0.02},
        "tracking": {"uri": uri, "onnx": False},
    }
    return yaml.safe_dump(values, sort_keys=False)


@dataclass
class Story:
    """What happened on the cluster."""

    site: ClusterProject
    server: Group
    plan: str = ""
    jobs: list[dict[str, str]] = field(default_factory=list)
    """Of all drivers: see :func:`jobs`."""
    gpus: dict[str, str] = field(default_factory=dict)
    """Node and number, seen while a training ran."""
    orphans: list[str] = field(default_factory=list)
    said: str = ""

    def result(self, model: str) -> Path:
        """Files of a training."""
        return self.site.path / f"results/cluster/shapes-sim/{model}/seed1"

    def read(self, model: str, name: str) -> dict:
        """One of them."""
        return json.loads((self.result(model) / name).read_text())

    def jobs_of(self, model: str, among: list[dict[str, str]] | None = None) -> list[dict[str, str]]:
        """Jobs that trained a model, the last one last."""
        ours = (job for job in among or self.jobs if "train_model" in job["rule"])
        return [job for job in ours if job["rule"].endswith(f"_{model}_1")]


def jobs(site: ClusterProject) -> list[dict[str, str]]:
    """All jobs that SLURM remembers, the oldest first: id, state, what they asked for, rule."""
    names = ("id", "state", "partition", "cpus", "memory", "rule")
    text = site.cluster.run("squeue", "--states=all", "--sort=i", "-h", "-o", "%A|%T|%P|%C|%m|%k")
    found = [dict(zip(names, line.split("|", 5), strict=True)) for line in text.splitlines()]
    asked = site.cluster.run(
        "squeue", "--states=all", "-h", "-O", "JobID:12,tres-per-job:20,tres-per-node:20,NumNodes:5"
    )
    rows = {row[0]: row[1:] for row in map(str.split, asked.splitlines())}
    for job in found:
        job["gpus"], job["gpus_per_node"], job["nodes"] = rows[job["id"]]
    return found


def trainer(site: ClusterProject, model: str) -> int | None:
    """Process of the training that has written a checkpoint, by its own word."""
    for lock in site.path.glob(f"scratch/cluster-shapes-sim-{model}-seed1-*/lock"):
        with suppress(OSError, ValueError):
            if (lock.parent / "last.ckpt").is_file():
                return json.loads(lock.read_text())["pid"]
    return None


def _resumed(cluster: Cluster, node: str) -> bool:
    """Whether a node may work again; SLURM refuses while it still clears up."""
    with suppress(subprocess.CalledProcessError):
        cluster.run("scontrol", "update", f"NodeName={node}", "State=resume")
        return True
    return False


def _cleared(job: str) -> bool:
    """Whether a node has let go of a job; a job that comes back earlier is refused and held."""
    steps = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return not any(f"slurmstepd: [{job}." in step for step in steps)


def gpu_of(cluster: Cluster, job: str) -> str:
    """Node and number of the GPU that a running job has."""
    shown = cluster.run("scontrol", "show", "job", "-d", job)
    node, number = re.search(r"Nodes=(\S+) .*GRES=gpu:pretended:1\(IDX:(\d)\)", shown).groups()
    return f"{node} {number}"


def disturb(site: ClusterProject, what: str, job: str, pid: int) -> None:
    """Let something happen to a training that stands still in the middle."""
    cluster = site.cluster
    match what:
        case "requeued":
            cluster.run("scontrol", "requeue", job)
        case "preempted":
            cluster.run("sbatch", "-p", "urgent", "-n", "1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
        case "lost":
            cluster.run("scontrol", "update", f"NodeName={cluster.nodes[-1]}", "State=down", "Reason=test")
        case "killed":
            os.kill(pid, signal.SIGKILL)
        case "step":
            # Whatever SLURM started for this job's step, Snakemake's process in it included.
            cluster.run("scancel", "--signal=KILL", f"{job}.0")
        case "cancelled":
            cluster.run("scancel", job)
        case "late":
            cluster.run("scontrol", "update", f"JobId={job}", "EndTime=now+1")
        case "orphan":
            return


@pytest.fixture(scope="module")
def story(site) -> Iterator[Story]:
    """Plan, trainings in trouble, a killed server, a killed driver, and a second one that brings all to its end."""
    with home_of_postgres() as directory:
        yield from _told(site, Group(directory))


def _told(site: ClusterProject, server: Group) -> Iterator[Story]:
    told = Story(site, server)
    server.start()
    drivers = []
    try:
        (site.path / "config.yaml").write_text(experiment(MODELS, server.uri))
        storm = ("salt", "pair", "hungry", *TROUBLED)
        (site.path / "storm.yaml").write_text(experiment(storm, server.uri))
        told.plan = site.run("--dry-run")
        drivers.append(site.start("train", "--configfile", "storm.yaml"))
        _trouble(told, drivers[0])
        log = site.path / "driver.log"
        wait_until(
            lambda: len(re.findall(r"^\S+ +\d+ of \d+ +\S+  train_model ", log.read_text(), re.M)) == len(storm) - 1,
            *(600, "end of all trainings but one"),
        )
        drivers[0].kill()
        drivers[0].wait()
        told.orphans = [job["id"] for job in jobs(site) if job["state"] == "RUNNING"]
        site.run("train", "--configfile", "storm.yaml", "--quiet", "rules")
        told.said = site.run()
        told.jobs = jobs(site)
        yield told
    finally:
        for driver in drivers:
            driver.kill()
        server.kill()
        if not told.jobs and (site.path / "driver.log").is_file():
            print((site.path / "driver.log").read_text()[-8000:], *jobs(site), sep="\n")


def _trouble(told: Story, driver: subprocess.Popen) -> None:
    """Stop each training at its first checkpoint and let it have its accident; the server has one meanwhile."""
    site, server, waiting, lost = told.site, told.server, set(TROUBLED), ""
    deadline = time.monotonic() + 600
    while waiting:
        assert driver.poll() is None, (site.path / "driver.log").read_text()[-5000:]
        assert time.monotonic() < deadline, f"not trained in time: {waiting}"
        for model in sorted(waiting):
            if (pid := trainer(site, model)) is not None:
                if len(waiting) == len(TROUBLED):
                    server.kill()
                # It cannot end before its accident.
                psutil.Process(pid).suspend()
                job = next(job["id"] for job in told.jobs_of(model, jobs(site)) if job["state"] == "RUNNING")
                told.gpus[model] = gpu_of(site.cluster, job)
                disturb(site, model, job, pid)
                lost = job if model == "lost" else lost
                waiting.discard(model)
        time.sleep(0.05)
    server.start()
    wait_until(lambda: _cleared(lost), 120, "end of the lost node's job")
    wait_until(lambda: _resumed(site.cluster, site.cluster.nodes[-1]), 60, "return of the node")


def test_a_dry_run_plans_the_whole_demo(story):
    for rule, count in (("simulate_shapes", 6), ("skim", 6), ("train_model", 3), ("evaluate", 3), ("report", 1)):
        assert re.search(rf"^{rule} +{count}$", story.plan, re.M), rule


def test_the_report_is_there(story):
    page = (story.site.path / "results/cluster/report/index.html").read_text()
    assert "SAL-T" in page
    assert json.loads((story.site.path / "results/cluster/tracked.json").read_text())


def test_files_go_out_in_groups(story):
    rules = [job["rule"] for job in story.jobs]
    # Six raw files with the skim of each, three of both in a job; three shards in one.
    assert len([rule for rule in rules if rule.startswith("rule_skims_")]) == 2
    assert len([rule for rule in rules if rule.startswith("rule_shards_")]) == 1
    assert not [job for job in story.jobs if re.match("rule_(simulate_shapes|skim|tensors_shard)(_|$)", job["rule"])]


def test_a_job_goes_to_the_partition_that_fits_it(story):
    group = next(job for job in story.jobs if job["rule"].startswith("rule_skims_"))
    # The jobs of a group run in turn: it asks for one core and the memory of one.
    assert (group["partition"], group["cpus"], group["memory"]) == ("main", "1", "1500M")
    evaluations = [job["partition"] for job in story.jobs if "evaluate" in job["rule"]]
    assert evaluations == ["gpu"] * len(MODELS)


def test_a_training_gets_a_gpu(story):
    assert {job["gpus"] for model in ("salt", *TROUBLED) for job in story.jobs_of(model)} == {"gres:gpu:1"}
    assert {job["gpus"] for job in story.jobs if re.match("rule_(skims|shards)_", job["rule"])} == {"N/A"}
    # SLURM has given one to each; that of the training which stood still went to nobody else.
    assert set(story.gpus) == set(TROUBLED)
    later = list(story.gpus)[list(story.gpus).index("orphan") + 1 :]
    assert story.gpus["orphan"] not in {story.gpus[model] for model in later}


def test_a_training_on_two_machines_gets_a_gpu_on_each(story):
    (job,) = story.jobs_of("pair")
    assert (job["gpus_per_node"], job["nodes"]) == ("gres:gpu:1", "2")


def test_more_memory_on_the_next_try(story):
    memory = [job["memory"] for job in story.jobs_of("hungry")]
    assert memory == ["200M", "1500M"]
    assert_same(story.result("salt"), story.result("hungry"))


@pytest.mark.parametrize("what", TROUBLED)
def test_a_training_in_trouble_goes_on_and_ends_the_same(story, what):
    assert_same(story.result("salt"), story.result(what))
    assert story.read(what, "training.json")["resumed"] == 1
    # SLURM starts the same job again; Snakemake submits another one. Nobody does both.
    by_slurm = what in ("requeued", "preempted", "lost")
    assert len(story.jobs_of(what)) == (1 if by_slurm else 2), story.jobs_of(what)
    assert story.jobs_of(what)[-1]["state"] == "COMPLETED"


def test_the_states_are_those_that_were_meant(story):
    assert story.jobs_of("late")[0]["state"] == "TIMEOUT"
    assert story.jobs_of("cancelled")[0]["state"] == "CANCELLED"
    assert {story.jobs_of(name)[0]["state"] for name in ("killed", "step")} == {"FAILED"}


def test_the_figures_of_merit_are_the_same_after_a_requeue(story):
    undisturbed, requeued = (story.read(model, "metrics.json") for model in ("salt", "requeued"))
    assert undisturbed["values"] == requeued["values"]
    assert undisturbed["confusion"] == requeued["confusion"]


def test_the_report_counts_failed_tries(story):
    with (story.site.path / "results/cluster/report/tables/efficiency.csv").open() as file:
        retries = {row["rule"]: int(row["retries"] or 0) for row in csv.DictReader(file)}
    assert retries.pop("train_model") == len(("hungry", "killed", "step", "cancelled", "late"))
    assert not any(retries.values())


def test_jobs_of_a_killed_driver_are_ended_before_others_begin(story):
    first, second = story.jobs_of("orphan")
    assert story.orphans == [first["id"]]
    assert first["state"] == "CANCELLED"
    assert second["state"] == "COMPLETED"


def test_two_machines_train_on_every_jet_once(story):
    training = story.read("pair", "training.json")
    assert training["processes"] == 2
    assert training["training"]["nodes"] == 2
    with (story.result("pair") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == EPOCHS
    assert {float(row["jets"]) for row in rows} == {2.0 * MESHES["train"]}
    # Two processes with batches of 4 make as many steps as one with batches of 8.
    with (story.result("salt") / "history.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == [row["step"] for row in rows]


def test_a_wrong_number_of_processes_ends_before_the_first_batch(story):
    """Two processes of srun and a recipe for one: each would have trained alone, both into the same files."""
    path = story.site.path
    [manifest] = path.glob("data/shapes-sim/tensors-*/manifest.json")
    done = subprocess.run(
        ["srun", "-p", "main", "-N", "1", "-n", "2", "--mem=1500", "jetloom", "train",
         str(manifest.relative_to(path)), "--model", "salt", "--preset", "tiny", "--output", "wrong",
         "--scratch", "scratch/wrong"],
        cwd=path, env=story.site.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "training.devices x training.nodes is 1 x 1, but srun started 2 processes" in done.stderr
    assert "epoch 1" not in done.stdout
    assert not (path / "wrong").exists() and not (path / "scratch/wrong").exists()


def test_metrics_of_the_time_without_a_server_arrive(story):
    from mlflow import MlflowClient

    client = MlflowClient(story.server.uri)
    tracked = json.loads((story.site.path / "results/cluster/tracked.json").read_text())
    assert not tracked["not_sent"]
    assert len(tracked["sent"]) == len(MODELS)
    for name, run in tracked["sent"].items():
        steps = {point.step for point in client.get_metric_history(run, "val/loss")}
        assert len(steps) == EPOCHS, name


def test_every_job_says_where_it_ran_and_where_its_log_is(story):
    said = (story.site.path / "driver.log").read_text()
    logs = [Path(path) for path in re.findall(r"\(log: (\S+)\)", said)]
    assert len(logs) >= 10
    assert all(log.is_file() for log in logs)
