"""One workflow at a time on the same files: what Snakemake's lock says, and what a killed one has left."""

import snakemake.exceptions

from jetloom.drivers import enter, refusal


class Locked(snakemake.exceptions.WorkflowError):
    """Instead of Snakemake's six lines, which know neither who holds the lock nor whether he lives."""

    def __init__(self):
        super().__init__(refusal(Path.cwd()))


if workflow.is_main_process and not workflow.dryrun:
    snakemake.exceptions.LockException = Locked
    try:
        for line in enter(Path.cwd()):
            print(line, file=sys.stderr)
    except (JetloomError, OSError) as error:
        sys.exit(f"workflow: {error}")
