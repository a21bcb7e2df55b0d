"""The server of a group, really started."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from jetloom.errors import JetloomError
from jetloom.tracking import server
from jetloom.tracking.server import serve
from jetloom.tracking.store import open_client
from tests.support.servers import family

pytestmark = pytest.mark.slow


def databases(processes: dict[psutil.Process, str]) -> list[psutil.Process]:
    """Those of PostgreSQL."""
    return [process for process, name in processes.items() if name == "postgres"]


def test_runs_and_artifacts_outlive_the_server(group, tmp_path) -> None:
    client = open_client(group.uri)
    run = client.create_run(client.create_experiment("outlive"))
    (tmp_path / "note.txt").write_text("kept")
    client.log_metric(run.info.run_id, "loss", 0.5)
    client.log_artifact(run.info.run_id, str(tmp_path / "note.txt"))
    before = family(group.process)
    assert "postgres" in before.values()
    for process in databases(before):
        with suppress(psutil.NoSuchProcess):
            assert process.username() == "nobody" or os.geteuid()
    group.stop()
    assert not [process for process in before if process.is_running()], "nothing is left behind"
    group.start()
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["note.txt"]


def test_nobody_else_reaches_the_database(group) -> None:
    """No network port, and a socket whose directory is closed: that is why it needs no password."""
    for process in databases(family(group.process)):
        with suppress(psutil.NoSuchProcess):
            assert not [link for link in process.net_connections("inet") if link.status == "LISTEN"]
    assert (group.directory / "socket").stat().st_mode & 0o777 == 0o700
    assert (group.directory / "postgres").stat().st_mode & 0o777 == 0o700


def test_a_second_one_says_so(group) -> None:
    command = [sys.executable, "-m", "jetloom.cli", "mlflow", "serve", str(group.directory)]
    command += ["--postgres-user", "nobody"] if os.geteuid() == 0 else []
    done = subprocess.run([*command, "--port", "0"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "does it run already?" in done.stderr
    taken = subprocess.run([*command, "--port", str(group.port)], capture_output=True, text=True)
    assert taken.returncode != 0
    assert "in use; choose another with --host or --port" in taken.stderr
    assert open_client(group.uri).search_experiments(), "the first one goes on"


def test_a_dead_half_ends_the_whole(group) -> None:
    others = family(group.process)
    (postgres,) = [child for child in psutil.Process(group.process.pid).children() if child.name() == "postgres"]
    postgres.send_signal(signal.SIGINT)
    assert group.process.wait(120) != 0
    assert not [process for process in others if process.is_running()]
    group.process = None
    group.start()
    assert open_client(group.uri).search_experiments()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the choice")
def test_root_has_to_name_a_user(tmp_path) -> None:
    with pytest.raises(JetloomError, match="does not run as root"):
        serve(tmp_path)
    with pytest.raises(JetloomError, match="knows no user 'nobody-of-that-name'"):
        serve(tmp_path, postgres_user="nobody-of-that-name")


def test_what_is_missing_is_one_line(tmp_path, monkeypatch) -> None:
    with pytest.raises(JetloomError, match="too long a path for a socket"):
        serve(tmp_path / ("long" * 30))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(server, "INSTALLATIONS", ())
    with pytest.raises(JetloomError, match="initdb: not found; install PostgreSQL"):
        serve(tmp_path / "x", postgres_user=None if os.geteuid() else "nobody", port=0)
