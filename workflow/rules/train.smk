"""Trainings: one per data set, model and seed."""


# MLflow experiments exist before several trainings race to create them.
rule mlflow_store:
    output:
        f"{HERE}/mlflow.json",
    log:
        f"logs/mlflow_store/{EXPERIMENT.experiment}.log",
    benchmark:
        f"logs/benchmarks/mlflow_store/{EXPERIMENT.experiment}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        experiments=[f"{EXPERIMENT.experiment}/{name}" for name in EXPERIMENT.datasets],
        uri=f"--uri {shlex.quote(EXPERIMENT.tracking.uri)}" if EXPERIMENT.tracking.uri else "",
        offline="--offline" if EXPERIMENT.tracking.offline else "",
        directory=subpath(output[0], ancestor=2),
    shell:
        "jetloom mlflow init {params.experiments} {params.uri} {params.offline} --directory {params.directory}"
        " --output {output} &> {log}"


# The running training keeps its checkpoints in scratch: Snakemake would delete them among the outputs of a failed job.
rule train_model:
    input:
        manifest=f"{DATA}/{{dataset}}/tensors/manifest.json",
        store=ancient(rules.mlflow_store.output[0]),
        # Of the training that this one starts from, if any.
        weights=lambda wildcards: start_of(wildcards.model),
    output:
        checkpoint=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/best.ckpt",
        history=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/history.csv",
        training=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/training.json",
    log:
        f"logs/train_model/{EXPERIMENT.experiment}/{{dataset}}/{{model}}_seed{{seed}}.log",
    benchmark:
        f"logs/benchmarks/train_model/{EXPERIMENT.experiment}/{{dataset}}/{{model}}_seed{{seed}}.tsv"
    priority: 5
    conda:
        "../../envs/jetloom.yaml"
    threads: lambda wildcards: training_of(wildcards).devices
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=gpus_of_training,
        mpi=on_machines("mpi"),
        nodes=on_machines("nodes"),
        tasks=on_machines("tasks"),
        tasks_per_node=on_machines("tasks_per_node"),
        tasks_per_gpu=on_machines("tasks_per_gpu"),
        cpus_per_task=on_machines("cpus_per_task"),
        gres=on_machines("gres"),
        # Not a parameter: where it runs does not train again.
        launch=launch_training,
    params:
        directory=subpath(output.checkpoint, parent=True),
        scratch=lambda wildcards: (
            f"{SCRATCH}/{EXPERIMENT.experiment}-{wildcards.dataset}-{wildcards.model}-seed{wildcards.seed}"
            f"-{training_digest(wildcards)}"
        ),
        model=model_flags,
        recipe=recipe_flags,
        handling=handling_flags,
        title=title_flag,
        experiment=EXPERIMENT.experiment,
    shell:
        "{resources.launch} jetloom train {input.manifest} {params.model} {params.recipe} {params.handling} {params.title}"
        " --seed {wildcards.seed} --experiment {params.experiment} --store {input.store} --threads {threads}"
        " --scratch {params.scratch} --output {params.directory} &> {log}"


rule train:
    input:
        [f"{HERE}/{run.dataset}/{run.model}/seed{run.seed}/best.ckpt" for run in EXPERIMENT.runs],
