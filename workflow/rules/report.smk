"""Tables, figures and the page, from files of the evaluation alone."""

RUN_DIRECTORIES = [f"{HERE}/{run.dataset}/{run.model}/seed{run.seed}" for run in EXPERIMENT.runs]


# The configuration as this experiment was run with it, defaults of the schema left out.
rule freeze_config:
    output:
        f"{HERE}/config.yaml",
    log:
        f"logs/freeze_config/{EXPERIMENT.experiment}.log",
    benchmark:
        f"logs/benchmarks/freeze_config/{EXPERIMENT.experiment}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=10,
    params:
        # A function, so that braces in names of raw files are not taken for wildcards.
        text=lambda wildcards: shlex.quote(
            yaml.safe_dump(EXPERIMENT.model_dump(mode="json", exclude_unset=True), sort_keys=False)
        ),
    shell:
        "printf '%s' {params.text} > {output} 2> {log}"


rule report:
    input:
        config=rules.freeze_config.output[0],
        metrics=[f"{run}/metrics.json" for run in RUN_DIRECTORIES],
        predictions=[f"{run}/predictions.parquet" for run in RUN_DIRECTORIES],
        training=[f"{run}/training.json" for run in RUN_DIRECTORIES],
        histories=[f"{run}/history.csv" for run in RUN_DIRECTORIES],
        examples=[f"{run}/examples.json" for run in RUN_DIRECTORIES],
        costs=rules.cost.input,
        manifests=rules.data.input,
    output:
        page=report(
            REPORT,
            caption="../report/page.rst",
            category="Report",
            labels={"content": "the whole page"},
        ),
        figures=report(
            directory(f"{HERE}/report/figures"),
            patterns=["{dataset}/{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
        tables=report(
            directory(f"{HERE}/report/tables"),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        provenance=f"{HERE}/provenance.json",
    log:
        f"logs/report/{EXPERIMENT.experiment}.log",
    benchmark:
        f"logs/benchmarks/report/{EXPERIMENT.experiment}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        directory=subpath(output.page, parent=True),
        title=shlex.quote(EXPERIMENT.report.title),
        measured=" ".join(f"--measured {name}" for name in [EXPERIMENT.experiment, *EXPERIMENT.datasets]),
        code=fingerprint("jetloom.report.build", "jetloom.report.provenance"),
    shell:
        "jetloom report --metrics {input.metrics} --predictions {input.predictions} --training {input.training}"
        " --histories {input.histories} --costs {input.costs} --manifests {input.manifests}"
        " --examples {input.examples} --config {input.config} --title {params.title}"
        " --benchmarks logs/benchmarks {params.measured} --provenance {output.provenance}"
        " --output {params.directory} &> {log}"


# MLflow is a viewer: what a dead server does not take is listed, and nothing else waits for it.
rule track_results:
    input:
        metrics=rules.report.input.metrics,
        predictions=rules.report.input.predictions,
        costs=rules.report.input.costs,
        figures=rules.report.output.figures,
        config=rules.freeze_config.output[0],
    output:
        f"{HERE}/tracked.json",
    log:
        f"logs/track_results/{EXPERIMENT.experiment}.log",
    benchmark:
        f"logs/benchmarks/track_results/{EXPERIMENT.experiment}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        onnx="--onnx" if EXPERIMENT.tracking.onnx else "--no-onnx",
    shell:
        "jetloom mlflow log --metrics {input.metrics} --costs {input.costs} --figures {input.figures}"
        " --config {input.config} {params.onnx} --output {output} &> {log}"


rule figures:
    input:
        rules.report.output.figures,
