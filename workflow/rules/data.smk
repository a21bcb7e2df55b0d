"""Raw files, skims and tensors."""

RAW_OF = {
    skim_path(dataset, name): raw_path(dataset, name)
    for dataset in EXPERIMENT.datasets
    for split in EXPERIMENT.dataset(dataset).splits
    for name in EXPERIMENT.dataset(dataset).raw_files(split)
}
SIMULATED_JETS = [
    name
    for name in EXPERIMENT.datasets
    if EXPERIMENT.dataset(name).simulation and EXPERIMENT.dataset(name).kind == "jets"
]
SIMULATED_SHAPES = [
    name
    for name in EXPERIMENT.datasets
    if EXPERIMENT.dataset(name).simulation and EXPERIMENT.dataset(name).kind == "points"
]


# Jets of one class in one file, JetClass format.
rule simulate_jets:
    output:
        f"{DATA}/{{dataset}}/raw/{{process}}_{{number}}.root",
    log:
        "logs/simulate_jets/{dataset}/{process}_{number}.log",
    benchmark:
        "logs/benchmarks/simulate_jets/{dataset}/{process}_{number}.tsv"
    wildcard_constraints:
        dataset="|".join(SIMULATED_JETS) or "none",
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
        jets=simulated_jets,
        seed=lambda wildcards: simulation(wildcards).seed,
        flags=simulation_flags,
        code=fingerprint("jetloom.data.simulate.jetclass"),
    shell:
        "jetloom simulate jetclass-sim --class {params.label} --number {params.number} --jets {params.jets}"
        " --seed {params.seed} {params.flags} --processes 1 --output {params.directory} &> {log}"


# Meshes of one class and split, ModelNet10 layout.
rule simulate_shapes:
    output:
        directory(f"{DATA}/{{dataset}}/raw/{{shape}}/{{split}}"),
    log:
        "logs/simulate_shapes/{dataset}/{shape}_{split}.log",
    benchmark:
        "logs/benchmarks/simulate_shapes/{dataset}/{shape}_{split}.tsv"
    wildcard_constraints:
        dataset="|".join(SIMULATED_SHAPES) or "none",
        shape="[a-z_]+",
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        directory=f"{DATA}/{{dataset}}/raw",
        meshes=lambda wildcards: simulation(wildcards).jets[wildcards.split],
        seed=lambda wildcards: simulation(wildcards).seed,
        code=fingerprint("jetloom.data.simulate.shapes"),
    shell:
        "jetloom simulate shapes-sim --class {wildcards.shape} --split {wildcards.split} --meshes {params.meshes}"
        " --seed {params.seed} --output {params.directory} &> {log}"


# The map step: one Parquet file per raw file.
rule skim:
    input:
        lambda wildcards: RAW_OF[f"{DATA}/{wildcards.dataset}/skim/{wildcards.raw}.parquet"],
    output:
        f"{DATA}/{{dataset}}/skim/{{raw}}.parquet",
    log:
        "logs/skim/{dataset}/{raw}.log",
    benchmark:
        "logs/benchmarks/skim/{dataset}/{raw}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        preset=preset_of,
        settings=lambda wildcards: dataset_settings(wildcards, skim_keys(wildcards)),
        code=lambda wildcards: dataset_digest(
            wildcards,
            skim_keys(wildcards),
            "jetloom.data.skim",
            f"jetloom.data.sources.{EXPERIMENT.dataset(wildcards.dataset).source}",
        ),
    shell:
        "jetloom skim {input} {output} --dataset {params.preset} {params.settings} &> {log}"


# The skims of a split as one file: with thousands of them, each a direct input of every shard, planning takes minutes.
rule list_skims:
    input:
        skims_of,
    output:
        f"{DATA}/{{dataset}}/skim/{{split}}.txt",
    log:
        "logs/list_skims/{dataset}/{split}.log",
    benchmark:
        "logs/benchmarks/list_skims/{dataset}/{split}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=10,
    # Not as Python code (run:), for which Snakemake would start another Snakemake.
    shell:
        "printf '%s\\n' {input} > {output} 2> {log}"


# Slice s of every skim: classes and files are mixed without a global shuffle.
rule tensors_shard:
    input:
        f"{DATA}/{{dataset}}/skim/{{split}}.txt",
    output:
        f"{DATA}/{{dataset}}/tensors/{{split}}_{{shard}}.safetensors",
    log:
        "logs/tensors_shard/{dataset}/{split}_{shard}.log",
    benchmark:
        "logs/benchmarks/tensors_shard/{dataset}/{split}_{shard}.tsv"
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        preset=preset_of,
        number=lambda wildcards: int(wildcards.shard),
        settings=lambda wildcards: dataset_settings(wildcards, TENSOR_KEYS),
        code=lambda wildcards: dataset_digest(wildcards, TENSOR_KEYS, "jetloom.data.tensors"),
    shell:
        "jetloom tensors shard $(cat {input}) --dataset {params.preset} --split {wildcards.split} --shard {params.number}"
        " {params.settings} --output {output} &> {log}"


# What the shards hold, checked.
rule tensors_manifest:
    input:
        shards_of,
    output:
        f"{DATA}/{{dataset}}/tensors/manifest.json",
    log:
        "logs/tensors_manifest/{dataset}.log",
    benchmark:
        "logs/benchmarks/tensors_manifest/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/jetloom.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        preset=preset_of,
        settings=lambda wildcards: dataset_settings(wildcards, TENSOR_KEYS),
        code=lambda wildcards: dataset_digest(wildcards, TENSOR_KEYS, "jetloom.data.tensors"),
    shell:
        "jetloom tensors manifest {input} --dataset {params.preset} {params.settings} --output {output} &> {log}"


rule data:
    input:
        expand(f"{DATA}/{{dataset}}/tensors/manifest.json", dataset=EXPERIMENT.datasets),
