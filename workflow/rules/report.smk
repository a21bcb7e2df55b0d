"""Tables, figures and the page, from files of the evaluation alone."""


rule report:
    input:
        metrics=PLAN.evaluations("metrics.json"),
        predictions=PLAN.evaluations("predictions.parquet"),
        training=PLAN.files("training.json"),
        histories=PLAN.files("history.csv"),
        examples=PLAN.evaluations("examples.json"),
        costs=PLAN.costs,
        manifests=rules.data.input,
        closeness=PLAN.closeness,
        observables=[path.replace("closeness.json", "observables.parquet") for path in PLAN.closeness],
    output:
        page=report(
            f"{HERE}/report/index.html",
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
        resources=f"{HERE}/resources.json",
    log:
        f"{HERE}/logs/report.log",
    benchmark:
        f"{HERE}/benchmarks/report/report.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        config=FROZEN,
        directory=subpath(output.page, parent=True),
        key=[PLAN.report_key(), short(FROZEN_TEXT)],
    shell:
        "jetloom report --config {params.config:q} --manifests {input.manifests:q} --resources {output.resources:q}"
        " --provenance {output.provenance:q} --threads {threads} --output {params.directory:q} &> {log:q}"


# MLflow is a viewer: what a dead server does not take is listed, and nothing else waits for it.
rule track_results:
    input:
        metrics=rules.report.input.metrics,
        predictions=rules.report.input.predictions,
        costs=rules.report.input.costs,
        closeness=PLAN.closeness,
        figures=rules.report.output.figures,
    output:
        f"{HERE}/tracked.json",
    log:
        f"{HERE}/logs/track_results.log",
    benchmark:
        f"{HERE}/benchmarks/track_results/tracked.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        config=FROZEN,
        key=short(FROZEN_TEXT),
        closeness=["--closeness", *PLAN.closeness] if PLAN.closeness else [],
        onnx="--onnx" if EXPERIMENT.tracking.onnx else "--no-onnx",
    shell:
        "jetloom mlflow log --metrics {input.metrics:q} --costs {input.costs:q} --figures {input.figures:q}"
        " {params.closeness:q} --config {params.config:q} {params.onnx} --output {output:q} &> {log:q}"


rule figures:
    input:
        rules.report.output.figures,
