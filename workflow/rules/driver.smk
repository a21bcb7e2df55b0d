"""One workflow at a time on the same files, and what a killed one has left."""

from jetloom.drivers import enter
from jetloom.workflow.store import earlier_layout

if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        for line in [*enter(Path.cwd(), HERE), *earlier_layout(Path(DATA))]:
            print(line, file=sys.stderr)
    except (JetloomError, OSError) as error:
        sys.exit(f"workflow: {error}")
