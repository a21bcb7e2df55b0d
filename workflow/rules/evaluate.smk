"""Figures of merit on the test split, and what each model costs on this machine."""


# Metrics with intervals, the predictions behind every figure, and a few jets with what the model looks at in them.
rule evaluate:
    input:
        manifest=lambda wildcards: PLAN.data[wildcards.dataset].manifest,
        checkpoint=rules.train_model.output.checkpoint,
        training=rules.train_model.output.training,
        truth=lambda wildcards: PLAN.truth(wildcards.dataset),
    output:
        metrics=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/metrics.json"),
        predictions=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/predictions.parquet"),
        examples=update(f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/examples.json"),
    log:
        f"{HERE}/logs/evaluate/{{dataset}}/{{model}}_seed{{seed}}.log",
    benchmark:
        f"{HERE}/benchmarks/evaluate/{{dataset}}/{{model}}_seed{{seed}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=1,
    params:
        config=FROZEN,
        directory=subpath(output.metrics, parent=True),
        truth=lambda wildcards, input: [f"--truth {path}" for path in input.truth],
        key=lambda wildcards: PLAN.evaluation_key(wildcards.dataset, wildcards.model),
    shell:
        "jetloom evaluate {input.checkpoint:q} {input.manifest:q} --training {input.training:q}"
        " --config {params.config:q} --run {wildcards.dataset}/{wildcards.model}/seed{wildcards.seed}"
        " --threads {threads} {params.truth} --output {params.directory:q} &> {log:q}"


# Alone on the machine (Snakemake caps the threads at --cores): a busy neighbour would be measured too. Of equal networks
# on equal tensors one is measured, and the others have its figures.
rule measure_cost:
    input:
        manifest=lambda wildcards: PLAN.data[wildcards.dataset].manifest,
        same=lambda wildcards: PLAN.same_cost(wildcards.dataset, wildcards.model) or [],
    output:
        f"{HERE}/{{dataset}}/{{model}}/cost.json",
    log:
        f"{HERE}/logs/measure_cost/{{dataset}}/{{model}}.log",
    benchmark:
        f"{HERE}/benchmarks/measure_cost/{{dataset}}/{{model}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: lambda wildcards, input: 1 if input.same else 1024
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=lambda wildcards, input: 0 if input.same else 1,
    params:
        config=FROZEN,
        key=lambda wildcards: PLAN.cost_key(wildcards.dataset, wildcards.model),
        same=lambda wildcards, input: ["--same", input.same] if input.same else [],
    shell:
        "jetloom cost {input.manifest:q} --config {params.config:q} --run {wildcards.dataset}/{wildcards.model}"
        " {params.same:q} --threads {threads} --output {output:q} &> {log:q}"


rule cost:
    input:
        PLAN.costs,
