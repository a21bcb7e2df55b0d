"""What trainings make of jets, as skims: from there on it is data like any other. See jetloom.workflow.derived."""


# Jets of one shard as codes, and what the codes stand for.
rule tokenise:
    input:
        about="{home}/tokenised-{key}/about.json",
        checkpoints=lambda wildcards: PLAN.made(wildcards, "tokenised").checkpoints,
        jets=lambda wildcards: PLAN.made(wildcards, "tokenised").inputs(wildcards.split, int(wildcards.shard)),
    output:
        "{home}/tokenised-{key}/{split}_{shard}.parquet",
    log:
        "{home}/logs/tokenised-{key}/tokenise/{split}_{shard}.log",
    benchmark:
        "{home}/benchmarks/tokenised-{key}/tokenise/{split}_{shard}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        config=FROZEN,
        name=lambda wildcards: PLAN.made(wildcards, "tokenised").name,
        number=lambda wildcards: int(wildcards.shard),
    shell:
        "jetloom derive {params.name} --config {params.config:q} --split {wildcards.split} --number {params.number}"
        " --threads {threads} --output {output:q} &> {log:q}"


# Jets that a generator draws; each file has random numbers of its own.
rule generate:
    input:
        about="{home}/generated-{key}/about.json",
        checkpoints=lambda wildcards: PLAN.made(wildcards, "generated").checkpoints,
    output:
        "{home}/generated-{key}/{split}_{shard}.parquet",
    log:
        "{home}/logs/generated-{key}/generate/{split}_{shard}.log",
    benchmark:
        "{home}/benchmarks/generated-{key}/generate/{split}_{shard}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
        gpu=1,
    params:
        config=FROZEN,
        name=lambda wildcards: PLAN.made(wildcards, "generated").name,
        number=lambda wildcards: int(wildcards.shard),
    shell:
        "jetloom derive {params.name} --config {params.config:q} --split {wildcards.split} --number {params.number}"
        " --threads {threads} --output {output:q} &> {log:q}"


# Equally many jets of several data sets, to be told apart; a file for each of them.
rule mix:
    input:
        about="{home}/compared-{key}/about.json",
        jets=lambda wildcards: PLAN.made(wildcards, "compared").inputs(wildcards.split, int(wildcards.shard)),
    output:
        "{home}/compared-{key}/{split}_{shard}.parquet",
    log:
        "{home}/logs/compared-{key}/mix/{split}_{shard}.log",
    benchmark:
        "{home}/benchmarks/compared-{key}/mix/{split}_{shard}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        config=FROZEN,
        name=lambda wildcards: PLAN.made(wildcards, "compared").name,
        number=lambda wildcards: int(wildcards.shard),
    shell:
        "jetloom derive {params.name} --config {params.config:q} --split {wildcards.split} --number {params.number}"
        " --threads {threads} --output {output:q} &> {log:q}"


# A rule of its own: a cluster's profile runs shards in groups, and what is derived waits for trainings on shards.
use rule tensors_shard as derived_shard with:
    wildcard_constraints:
        home=any_of(HOMES & {DERIVED}),


# Distances of observables between a derived data set and what it should be like.
rule closeness:
    input:
        manifest=lambda wildcards: PLAN.compared[wildcards.dataset].manifest,
        reference=lambda wildcards: PLAN.compared[wildcards.dataset].reference.manifest,
    output:
        closeness=f"{HERE}/{{dataset}}/closeness.json",
        observables=f"{HERE}/{{dataset}}/observables.parquet",
    log:
        f"{HERE}/logs/closeness/{{dataset}}.log",
    benchmark:
        f"{HERE}/benchmarks/closeness/{{dataset}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        config=FROZEN,
        key=PLAN.closeness_key,
    shell:
        "jetloom closeness {wildcards.dataset} --config {params.config:q} --output {output.closeness:q}"
        " --observables {output.observables:q} &> {log:q}"
