"""What trainings could not send goes into the very runs it belongs to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jetloom.errors import JetloomError
from jetloom.tracking.run import StoredRun
from jetloom.tracking.spool import UNSENT, Left
from jetloom.tracking.store import Clients, reason, unmasked


def sync(places: Sequence[Path], uri: str | None = None) -> None:
    """Send everything that is left below some directories, and say what.

    Args:
        places: directories of results, or single ``unsent.jsonl``.
        uri: another store than the one the trainings were told.

    Raises:
        JetloomError: something could not be sent; it stays where it is.
    """
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob(UNSENT)))]
    if missing := [str(place) for place in places if not place.exists()]:
        raise JetloomError(f"{', '.join(missing)}: no such file or directory; expected a directory of results")
    failed, clients = 0, Clients()
    for file in files:
        left = Left.read(file)
        what = f"{left.description.experiment} {left.description.name}: {len(left.points)} points"
        try:
            send(clients.of(uri or unmasked(left.uri)), file)
            print(f"{what} sent")
        except Exception as error:
            # What MLflow passes on from a driver or the network has no common class.
            failed += 1
            print(f"{what} NOT sent: {reason(error)}")
    if failed:
        raise JetloomError(f"{failed} of {len(files)} runs are not in the store yet; give the command again later")
    if not files:
        print("Nothing waits to be sent")


def send(client: Any, file: Path) -> str:
    """Send one ``unsent.jsonl`` and remove it; returns the id of the run.

    Given again after an interruption it completes the same run.

    Raises:
        Exception: whatever MLflow, its driver or the network raise; the file stays.
    """
    left = Left.read(file)
    run = StoredRun(client, left.description, left.key, run_id=left.run_id)
    run.open(left.began)
    run.describe()
    run.send(left.points)
    for name in left.files:
        # Of a training that was killed there is nothing but the figures.
        if (file.parent / name).is_file():
            run.send_file(file.parent / name)
    run.end(left.status, left.ended)
    file.unlink()
    assert run.run_id
    return run.run_id
