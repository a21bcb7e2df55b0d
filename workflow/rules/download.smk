"""Raw files of public data sets. One job for each directory: it fetches several files at once and resumes after a kill."""

for fetch in PLAN.downloads:

    rule:
        name:
            fetch.name
        output:
            [path if "." in path.rpartition("/")[2] else directory(path) for path in fetch.raw],
        log:
            f"{DATA}/{fetch.family}/logs/{fetch.place}/{fetch.name}.log",
        benchmark:
            f"{DATA}/{fetch.family}/benchmarks/{fetch.place}/download/{fetch.name}.tsv"
        # Compute nodes often see no internet.
        localrule: True
        conda:
            "../../envs/jetloom.yaml"
        # Of the network, not of the processor.
        threads: 4
        resources:
            mem_mb=1000,
            runtime=2880,
        params:
            preset=fetch.settings[0],
            # A function, so that braces are not taken for wildcards; bound here, because the loop goes on.
            settings=lambda wildcards, words=arguments(fetch.settings[1]): words,
            directory=fetch.directory,
            checksums=fetch.checksums,
            # Where the files come from changes no result; the verb reads it there.
            config=FROZEN,
        shell:
            "jetloom download {params.preset} --output {params.directory:q} --checksums {params.checksums:q}"
            " --jobs {threads} {params.settings:q} --config {params.config:q} &> {log:q}"
