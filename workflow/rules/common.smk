"""The validated experiment and what it makes (jetloom.workflow.plan)."""

import json
import sys
from pathlib import Path

import yaml

from jetloom.config import parse_experiment
from jetloom.system.environment import require_commit
from jetloom.tracking.request import StoreRequest
from jetloom.errors import JetloomError
from jetloom.identity.digests import short
from jetloom.workflow.data import LABEL_OF
from jetloom.workflow.plan import Plan, any_of
from jetloom.workflow.store import earlier_layout

try:
    EXPERIMENT = parse_experiment(config)
    PLAN = Plan(EXPERIMENT)
    PLAN.check()
    if EXPERIMENT.paper and workflow.is_main_process and not workflow.output_settings.dryrun:
        require_commit()
except JetloomError as error:
    sys.exit(f"configuration: {error}")

if workflow.is_main_process:
    for line in earlier_layout(Path(EXPERIMENT.data_directory)):
        print(line, file=sys.stderr)

DATA = EXPERIMENT.data_directory
HERE = PLAN.results
# Where data lie: that of each family, and that of the data sets which trainings of this experiment make.
HOMES, DERIVED = {plan.home for plan in PLAN.data.values()}, f"{HERE}/derived"
# Settings reach verbs through this file, which the driver writes (driver.smk). It is no input: what of it decides a result
# is in a key among the parameters of the rule. As output of a job, even `ancient`, it would hide changes of parameters:
# Snakemake does not look for them in jobs behind one that has to run.
FROZEN = f"{HERE}/config.yaml"
# Where MLflow keeps the runs: written by the rule `mlflow_store`.
MLFLOW = f"{HERE}/store.json"
STORE = StoreRequest(
    EXPERIMENT.tracking.uri,
    tuple(f"{EXPERIMENT.experiment}/{name}" for name in EXPERIMENT.datasets),
    Path(HERE).parent,
    EXPERIMENT.tracking.offline,
)
# The configuration as this experiment is run with it, defaults of the schema left out.
FROZEN_TEXT = yaml.safe_dump(EXPERIMENT.model_dump(mode="json", exclude_unset=True), sort_keys=False)


wildcard_constraints:
    home=any_of(HOMES),
    family="|".join(sorted({plan.family for plan in PLAN.data.values()})),
    key="[0-9a-f]+",
    dataset="|".join(EXPERIMENT.datasets),
    model="|".join(sorted({run.model for run in EXPERIMENT.runs})),
    seed=r"\d+",
    split="|".join(sorted({split for plan in PLAN.data.values() for split in plan.dataset.splits})),
    shard=r"\d\d\d+",


# The configuration as this experiment was run with it, defaults of the schema left out.
rule freeze_config:
    output:
        FROZEN,
    log:
        f"{HERE}/logs/freeze_config.log",
    benchmark:
        f"{HERE}/benchmarks/freeze_config/config.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=10,
    params:
        # A function, so that braces in names of raw files are not taken for wildcards.
        text=lambda wildcards: yaml.safe_dump(EXPERIMENT.model_dump(mode="json", exclude_unset=True), sort_keys=False),
    shell:
        "printf '%s' {params.text:q} > {output:q} 2> {log:q}"
