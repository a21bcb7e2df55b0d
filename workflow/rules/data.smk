"""Raw files, skims and tensors. The directories carry a digest of what they are made from: see jetloom.workflow.data."""


# What a directory of data holds and what that is made from.
rule describe_data:
    output:
        "{home}/{place}/about.json",
    log:
        "{home}/logs/{place}/describe_data.log",
    benchmark:
        "{home}/benchmarks/{place}/describe_data/about.tsv"
    wildcard_constraints:
        place="[a-z]+-[0-9a-f]+",
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=10,
    params:
        text=lambda wildcards: json.dumps(PLAN.about[f"{wildcards.home}/{wildcards.place}"], indent=1),
    shell:
        "printf '%s\\n' {params.text:q} > {output:q} 2> {log:q}"


# Jets of one class in one file, JetClass format.
rule simulate_jets:
    input:
        about=f"{DATA}/{{family}}/raw-{{key}}/about.json",
    output:
        f"{DATA}/{{family}}/raw-{{key}}/{{process}}_{{number}}.root",
    log:
        f"{DATA}/{{family}}/logs/raw-{{key}}/simulate_jets/{{process}}_{{number}}.log",
    benchmark:
        f"{DATA}/{{family}}/benchmarks/raw-{{key}}/simulate_jets/{{process}}_{{number}}.tsv"
    wildcard_constraints:
        process="|".join(LABEL_OF),
        number=r"\d{3}",
    # Longest first: a simulation started last would keep one core waiting.
    priority: 10
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        directory=subpath(output[0], parent=True),
        label=lambda wildcards: LABEL_OF[wildcards.process],
        number=lambda wildcards: int(wildcards.number),
    shell:
        "jetloom simulate jetclass-sim --about {input.about:q} --class {params.label} --number {params.number}"
        " --processes 1 --output {params.directory:q} &> {log:q}"


# Meshes of one class and split, ModelNet10 layout.
rule simulate_shapes:
    input:
        about=f"{DATA}/{{family}}/raw-{{key}}/about.json",
    output:
        directory(f"{DATA}/{{family}}/raw-{{key}}/{{shape}}/{{split}}"),
    log:
        f"{DATA}/{{family}}/logs/raw-{{key}}/simulate_shapes/{{shape}}_{{split}}.log",
    benchmark:
        f"{DATA}/{{family}}/benchmarks/raw-{{key}}/simulate_shapes/{{shape}}_{{split}}.tsv"
    wildcard_constraints:
        shape="[a-z_]+",
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        directory=subpath(output[0], ancestor=2),
    shell:
        "jetloom simulate shapes-sim --about {input.about:q} --class {wildcards.shape} --split {wildcards.split}"
        " --output {params.directory:q} &> {log:q}"


# The map step: one Parquet file per raw file.
rule skim:
    input:
        raw=lambda wildcards: PLAN.raw_of[f"{DATA}/{wildcards.family}/skim-{wildcards.key}/{wildcards.raw}.parquet"],
        about=f"{DATA}/{{family}}/skim-{{key}}/about.json",
    output:
        f"{DATA}/{{family}}/skim-{{key}}/{{raw}}.parquet",
    log:
        f"{DATA}/{{family}}/logs/skim-{{key}}/skim/{{raw}}.log",
    benchmark:
        f"{DATA}/{{family}}/benchmarks/skim-{{key}}/skim/{{raw}}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "jetloom skim {input.raw:q} {output:q} --dataset {wildcards.family} --about {input.about:q} &> {log:q}"


# The skims of a split, with digests of their content, as one file: with thousands of them, each a direct input of every
# shard, planning takes minutes.
rule list_skims:
    input:
        lambda wildcards: PLAN.tensors[f"{wildcards.home}/tensors-{wildcards.key}"].skims(wildcards.split),
    output:
        "{home}/tensors-{key}/skims/{split}.json",
    log:
        "{home}/logs/tensors-{key}/list_skims/{split}.log",
    benchmark:
        "{home}/benchmarks/tensors-{key}/list_skims/{split}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=200,
        runtime=10,
    shell:
        "jetloom tensors list {input:q} --output {output:q} &> {log:q}"


# Slice s of every skim: classes and files are mixed without a global shuffle.
rule tensors_shard:
    input:
        skims="{home}/tensors-{key}/skims/{split}.json",
        about="{home}/tensors-{key}/about.json",
    output:
        "{home}/tensors-{key}/{split}_{shard}.safetensors",
    log:
        "{home}/logs/tensors-{key}/tensors_shard/{split}_{shard}.log",
    benchmark:
        "{home}/benchmarks/tensors-{key}/tensors_shard/{split}_{shard}.tsv"
    wildcard_constraints:
        home=any_of(HOMES - {DERIVED}),
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        number=lambda wildcards: int(wildcards.shard),
    shell:
        "jetloom tensors shard --list {input.skims:q} --about {input.about:q} --split {wildcards.split}"
        " --shard {params.number} --output {output:q} &> {log:q}"


# What the shards hold, checked.
rule tensors_manifest:
    input:
        shards=lambda wildcards: PLAN.tensors[f"{wildcards.home}/tensors-{wildcards.key}"].shards(),
        about="{home}/tensors-{key}/about.json",
    output:
        "{home}/tensors-{key}/manifest.json",
    log:
        "{home}/logs/tensors-{key}/tensors_manifest.log",
    benchmark:
        "{home}/benchmarks/tensors-{key}/tensors_manifest/manifest.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "jetloom tensors manifest {input.shards:q} --about {input.about:q} --output {output:q} &> {log:q}"


rule data:
    input:
        [plan.manifest for plan in PLAN.data.values()],
