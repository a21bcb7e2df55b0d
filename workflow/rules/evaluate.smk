"""Figures of merit on the test split, and what each model costs on this machine."""


# Metrics with intervals, the predictions behind every figure, and a few jets with what the model looks at in them.
rule evaluate:
    input:
        manifest=f"{DATA}/{{dataset}}/tensors/manifest.json",
        checkpoint=rules.train_model.output.checkpoint,
        training=rules.train_model.output.training,
    output:
        metrics=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/metrics.json",
        predictions=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/predictions.parquet",
        examples=f"{HERE}/{{dataset}}/{{model}}/seed{{seed}}/examples.json",
    log:
        f"logs/evaluate/{EXPERIMENT.experiment}/{{dataset}}/{{model}}_seed{{seed}}.log",
    benchmark:
        f"logs/benchmarks/evaluate/{EXPERIMENT.experiment}/{{dataset}}/{{model}}_seed{{seed}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=1,
        launch=take_gpus(1),
    params:
        directory=subpath(output.metrics, parent=True),
        settings=assignments(EXPERIMENT.evaluation.model_dump(mode="json", exclude_unset=True)),
        # An edited model is trained again, and its checkpoint is another one.
        code=fingerprint("jetloom.evaluation.evaluate", without="jetloom.models"),
    shell:
        "{resources.launch} jetloom evaluate {input.checkpoint} {input.manifest} --training {input.training}"
        " {params.settings} --threads {threads} --output {params.directory} &> {log}"


# Alone on the machine (Snakemake caps the threads at --cores): a busy neighbour would be measured too.
rule measure_cost:
    input:
        manifest=f"{DATA}/{{dataset}}/tensors/manifest.json",
    output:
        f"{HERE}/{{dataset}}/{{model}}/cost.json",
    log:
        f"logs/measure_cost/{EXPERIMENT.experiment}/{{dataset}}/{{model}}.log",
    benchmark:
        f"logs/benchmarks/measure_cost/{EXPERIMENT.experiment}/{{dataset}}/{{model}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1024
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
        launch=take_gpus(1),
    params:
        model=model_flags,
        title=title_flag,
        settings=assignments(EXPERIMENT.cost.model_dump(mode="json", exclude_unset=True)),
        code=lambda wildcards: digest(model_digest(wildcards), fingerprint("jetloom.evaluation.cost")),
    shell:
        "{resources.launch} jetloom cost {input.manifest} {params.model} {params.title} {params.settings}"
        " --threads {threads} --output {output} &> {log}"


rule cost:
    input:
        sorted({f"{HERE}/{run.dataset}/{run.model}/cost.json" for run in EXPERIMENT.runs}),
