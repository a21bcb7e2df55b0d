"""The verb that shows what an experiment will take."""

from pathlib import Path

from jetloom.cli.app import Set, app


@app.command
def plan(*, config: Path = Path("config.yaml"), rate: float | None = None, set_: Set = ()) -> None:
    """The stages of an experiment on one screen: jobs, what is there already, jets, disk and core-hours.

    Expected figures are those of docs/scale.md, measured on one core. `snakemake -n` says which jobs would run.

    Parameters
    ----------
    config
        Configuration of the experiment.
    rate
        Jets that a training learns per second; default: as the trainings of the same network that have ended here.
    """
    from jetloom.cli.listing import show_forecast
    from jetloom.config import parse_assignments, read_experiment
    from jetloom.workflow.forecast import forecast
    from jetloom.workflow.plan import Plan

    planned = Plan(read_experiment(config, parse_assignments(set_)))
    planned.check()
    show_forecast(planned, forecast(planned, rate))
