"""Trainings: one per data set, model and seed."""


# MLflow experiments exist before several trainings race to create them. The trainings take the file as `ancient`, and
# Snakemake does not look behind a job that runs again where all outputs are `ancient`: so parameters are functions of the
# output, which it does not record, and the driver mends a file that says something else (driver.smk).
rule mlflow_store:
    output:
        MLFLOW,
    log:
        f"{HERE}/logs/mlflow_store.log",
    benchmark:
        f"{HERE}/benchmarks/mlflow_store/store.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        words=lambda wildcards, output: STORE.words,
    shell:
        "jetloom mlflow init {params.words:q} --output {output:q} &> {log:q}"


# The running training keeps its checkpoints in scratch: Snakemake would delete them among the outputs of a failed job.
# `update`: what is there already stays if it was made from the same, or until another training has ended.
rule train_model:
    input:
        manifest=lambda wildcards: PLAN.data[wildcards.dataset].manifest,
        store=ancient(MLFLOW),
        # Of the training that this one starts from, if any.
        weights=lambda wildcards: PLAN.training(wildcards).weights or [],
    output:
        checkpoint=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/best.ckpt"),
        history=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/history.csv"),
        training=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/training.json"),
    log:
        f"{HERE}/logs/train_model/{{dataset}}/{{model}}_seed{{seed}}.log",
    benchmark:
        f"{HERE}/benchmarks/train_model/{{dataset}}/{{model}}_seed{{seed}}.tsv"
    priority: lambda wildcards: 5 + 4 * PLAN.urgency(wildcards)
    conda:
        "../../envs/jetloom.yaml"
    threads: lambda wildcards: PLAN.training(wildcards).recipe.devices
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=lambda wildcards: one_machine(PLAN.training(wildcards).recipe),
        mpi=on_machines(PLAN, "mpi"),
        nodes=on_machines(PLAN, "nodes"),
        tasks=on_machines(PLAN, "tasks"),
        tasks_per_node=on_machines(PLAN, "tasks_per_node"),
        tasks_per_gpu=on_machines(PLAN, "tasks_per_gpu"),
        cpus_per_task=on_machines(PLAN, "cpus_per_task"),
        gres=on_machines(PLAN, "gres"),
    params:
        config=FROZEN,
        directory=subpath(output.checkpoint, parent=True),
        scratch=lambda wildcards: PLAN.training(wildcards).scratch,
    shell:
        "jetloom train {input.manifest:q} --config {params.config:q}"
        " --run {wildcards.dataset}/{wildcards.model}/seed{wildcards.seed} --store {input.store:q} --threads {threads}"
        " --scratch {params.scratch:q} --output {params.directory:q} &> {log:q}"


rule train:
    input:
        PLAN.files("best.ckpt"),
