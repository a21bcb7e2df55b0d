# Entry point: `snakemake --profile profiles/local`. The workflow itself is in workflow/, where `module:` users and the
# Snakemake catalog look for it.
include: "workflow/Snakefile"


# An included file sets no default target.
workflow.default_target = "all"
