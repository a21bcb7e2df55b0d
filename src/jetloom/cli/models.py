"""What architectures there are."""

from jetloom.cli.app import app


@app.command(name="models")
def list_models(name: str | None = None) -> None:
    """List the architectures; with a NAME, its presets and options with their defaults."""
    from jetloom.cli.listing import show_model, show_models

    show_models() if name is None else show_model(name)
