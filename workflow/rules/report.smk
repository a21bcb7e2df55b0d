"""Tables, figures and the page, from files of the evaluation alone."""

RUN_DIRECTORIES = [f"{HERE}/{run.dataset}/{run.model}/seed{run.seed}" for run in EXPERIMENT.runs]


rule report:
    input:
        metrics=[f"{run}/metrics.json" for run in RUN_DIRECTORIES],
        predictions=[f"{run}/predictions.parquet" for run in RUN_DIRECTORIES],
        training=[f"{run}/training.json" for run in RUN_DIRECTORIES],
        histories=[f"{run}/history.csv" for run in RUN_DIRECTORIES],
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
        code=fingerprint("jetloom.report.build"),
    shell:
        "jetloom report --metrics {input.metrics} --predictions {input.predictions} --training {input.training}"
        " --histories {input.histories} --costs {input.costs} --manifests {input.manifests}"
        " --title {params.title} --output {params.directory} &> {log}"


rule figures:
    input:
        rules.report.output.figures,
