"""One workflow at a time on the same files, what a killed one has left, and the configuration of this one."""

from jetloom.workflow.drivers import enter
from jetloom.system.files import appearing

if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        for line in enter(Path.cwd(), HERE):
            print(line, file=sys.stderr)
        if not Path(FROZEN).is_file() or Path(FROZEN).read_text() != FROZEN_TEXT:
            with appearing(Path(FROZEN)) as unfinished:
                unfinished.write_text(FROZEN_TEXT)
        STORE.mend(Path(MLFLOW))
    except (JetloomError, OSError) as error:
        sys.exit(f"workflow: {error}")
