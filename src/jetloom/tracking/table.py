"""All runs as one static table, for whoever has no server: CSV, or a page that needs nothing else."""

import html
from pathlib import Path

import pandas

from jetloom.errors import JetloomError
from jetloom.system.files import appearing
from jetloom.system.masking import masked
from jetloom.tracking.store import choose_uri, open_client, reason

STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: Canvas; } td:nth-child(-n+3), th:nth-child(-n+3) { text-align: left; }
"""


def export(uri: str | None, directory: Path, output: Path) -> None:
    """Write every run of a store as a row: names, status, times, tags of its origin, parameters, last metrics.

    Args:
        uri: tracking server or database; None as in ``choose_uri``.
        directory: of the default store.
        output: ``.csv``, or ``.html``.

    Raises:
        JetloomError: another suffix, no such store, or it does not answer.
    """
    if output.suffix not in (".csv", ".html"):
        raise JetloomError(f"{output}: expected a name that ends in .csv or .html")
    table = runs(uri, directory)
    with appearing(output) as partial:
        partial.write_text(table.to_csv(index=False) if output.suffix == ".csv" else _page(table))
    print(f"{len(table)} runs in {output}")


def runs(uri: str | None, directory: Path) -> pandas.DataFrame:
    """One row for each run; columns that no run fills are left out."""
    chosen = choose_uri(uri, directory, must_exist=True)
    try:
        client = open_client(chosen)
        experiments = {item.experiment_id: item.name for item in client.search_experiments()}
        found, token = [], None
        while token is None or token:
            page = client.search_runs(list(experiments), page_token=token, order_by=["attributes.start_time"])
            found += page
            token = page.token or ""
    except Exception as error:
        # MLflow passes on whatever the driver or the network raised.
        raise JetloomError(f"MLflow at {masked(chosen)}: {reason(error)}") from None
    rows = []
    for run in found:
        tags = run.data.tags
        seconds = (run.info.end_time - run.info.start_time) / 1000 if run.info.end_time else None
        row = {"experiment": experiments[run.info.experiment_id], "run": run.info.run_name, "status": run.info.status}
        row |= {"started": pandas.Timestamp(run.info.start_time, unit="ms").isoformat(timespec="seconds")}
        row |= {"seconds": seconds, "level": tags.get("jetloom.level"), "commit": tags.get("git.commit")}
        row |= {"data": tags.get("data.manifest_sha"), "run_id": run.info.run_id}
        row |= {f"metric {name}": value for name, value in sorted(run.data.metrics.items())}
        rows.append(row | {f"parameter {name}": value for name, value in sorted(run.data.params.items())})
    return pandas.DataFrame(rows).dropna(axis=1, how="all")


def _page(table: pandas.DataFrame) -> str:
    body = table.to_html(index=False, na_rep="", border=0, float_format="%.5g", justify="unset")
    names = ", ".join(sorted(set(table.get("experiment", []))))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Runs</title><style>{STYLE}</style>"
        f"<h1>Runs of {html.escape(names) or 'an empty store'}</h1>{body}</html>\n"
    )
