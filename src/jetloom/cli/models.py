"""What architectures and tasks there are."""

from jetloom.cli.app import app


@app.command(name="models")
def list_models(name: str | None = None) -> None:
    """List the architectures; with a NAME, its presets and options with their defaults."""
    from jetloom.cli.listing import show_model, show_models

    show_models() if name is None else show_model(name)


@app.command(name="tasks")
def list_tasks() -> None:
    """List what a network can be trained to do, with the options of each task."""
    from jetloom.cli.listing import show_tasks

    show_tasks()
