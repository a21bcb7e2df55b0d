"""Raw files of public data sets. One job for each set: it fetches several files at once and goes on after a kill."""

# A data set whose files are there already says so with `raw`.
PUBLIC = [
    name
    for name in EXPERIMENT.datasets
    if EXPERIMENT.dataset(name).files
    and not EXPERIMENT.dataset(name).simulation
    and not (name in EXPERIMENT.per_dataset and EXPERIMENT.per_dataset[name].raw)
]

for public in PUBLIC:
    preset, settings, mirrors = download_facts(public)

    rule:
        name:
            f"download_{public}"
        output:
            [
                raw_output(public, raw)
                for split in EXPERIMENT.dataset(public).splits
                for raw in EXPERIMENT.dataset(public).raw_files(split)
            ],
        log:
            f"logs/download/{public}.log",
        benchmark:
            f"logs/benchmarks/download/{public}.tsv"
        # Compute nodes often see no internet.
        localrule: True
        conda:
            "../../envs/jetloom.yaml"
        # Of the network, not of the processor.
        threads: 4
        resources:
            mem_mb=1000,
            runtime=2880,
            # Where the files come from changes no result: as a parameter, another mirror would run everything again.
            mirrors=mirrors,
        params:
            preset=preset,
            # A function, so that braces are not taken for wildcards; bound here, because the loop goes on.
            settings=lambda wildcards, text=settings: text,
            directory=raw_directory,
            checksums=f"{DATA}/{public}/checksums.json",
        shell:
            "jetloom download {params.preset} --output {params.directory} --checksums {params.checksums}"
            " --jobs {threads} {params.settings} {resources.mirrors} &> {log}"
