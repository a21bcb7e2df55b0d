"""Raw files of public data sets: a job for each published file, which resumes after a kill."""

for fetch in PLAN.downloads:

    # A published file that is a raw file.
    if fetch.plain:

        rule:
            name:
                f"download_{fetch.name}"
            output:
                f"{fetch.directory}/{{file}}",
            log:
                f"{DATA}/{fetch.family}/logs/{fetch.place}/download/{{file}}.log",
            benchmark:
                f"{DATA}/{fetch.family}/benchmarks/{fetch.place}/download/{{file}}.tsv"
            wildcard_constraints:
                file=any_of(fetch.plain),
            # Compute nodes often see no internet.
            localrule: True
            conda:
                "../../envs/jetloom.yaml"
            threads: 1
            resources:
                mem_mb=300,
                runtime=2880,
                downloads=1,
            params:
                # A function of the output, so that Snakemake keeps no record of it (jetloom.workflow.data.Download).
                command=lambda wildcards, output, words=fetch.command(FROZEN): words,
            shell:
                "{params.command} --file {wildcards.file:q} &> {log:q}"

    # An archive, unpacked out of sight. What it holds is not always known before it is here.
    if fetch.parts:

        rule:
            name:
                f"download_{fetch.name}_archive" if fetch.plain else f"download_{fetch.name}"
            output:
                fetch.record("{archive}"),
            log:
                f"{DATA}/{fetch.family}/logs/{fetch.place}/download/{{archive}}.log",
            benchmark:
                f"{DATA}/{fetch.family}/benchmarks/{fetch.place}/download/{{archive}}.tsv"
            wildcard_constraints:
                archive=any_of(fetch.archives),
            localrule: True
            conda:
                "../../envs/jetloom.yaml"
            threads: 1
            resources:
                mem_mb=300,
                runtime=2880,
                downloads=1,
            params:
                command=lambda wildcards, output, words=fetch.command(FROZEN): words,
            shell:
                "{params.command} --file {wildcards.archive:q} --record {output:q} &> {log:q}"

    # Raw files under their names: second names of what the archives held, so that they cost no time and no room.
    for number, part in enumerate(fetch.parts, start=1):

        rule:
            name:
                f"unpack_{fetch.name}_{number}"
            input:
                # A record that is made anew changes no raw file.
                [ancient(fetch.record(archive)) for archive in part.archives],
            output:
                [path if "." in path.rpartition("/")[2] else directory(path) for path in part.raw],
            log:
                f"{DATA}/{fetch.family}/logs/{fetch.place}/unpack/{number}.log",
            benchmark:
                f"{DATA}/{fetch.family}/benchmarks/{fetch.place}/unpack/{number}.tsv"
            localrule: True
            conda:
                "../../envs/jetloom.yaml"
            threads: 1
            resources:
                mem_mb=300,
                runtime=60,
            params:
                command=lambda wildcards, output, words=fetch.command(FROZEN): words,
                files=[f"--file={archive}" for archive in part.archives],
            shell:
                "{params.command} {params.files:q} &> {log:q}"
