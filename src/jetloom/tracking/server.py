"""An MLflow server for a group: PostgreSQL, the server and its artifacts in one directory, by one command."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from jetloom.errors import JetloomError

ROLE = "jetloom"
SOCKET_LENGTH = 90
"""Characters; a socket's path, file name included, may have 107."""
INSTALLATIONS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
"""Where packages of Debian, of Red Hat and of Homebrew put what is not on the PATH."""
PATIENCE = 180.0
"""Seconds for the start of the server; a first one makes the tables."""


def serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    workers: int = 2,
    allowed_hosts: str | None = None,
    postgres_user: str | None = None,
) -> None:
    """Run PostgreSQL and an MLflow server on it until interrupted (Ctrl-C or SIGTERM); both go on where they ended.

    PostgreSQL listens on a socket in ``directory`` alone, which only its owner may enter: there is no password.

    Args:
        directory: of the database, the artifacts and the logs; made if it is not there.
        host: address the server listens on; 0.0.0.0: all of this machine.
        port: of the server.
        workers: processes that answer requests.
        allowed_hosts: names under which browsers and trainings reach the server, separated by commas; MLflow refuses
            others than localhost and private addresses.
        postgres_user: who runs PostgreSQL when root calls this, as in a container.

    Raises:
        JetloomError: PostgreSQL or its driver is not installed, runs already or as root, or one of the two ended.
    """
    try:
        import psycopg2  # noqa: F401 (MLflow's driver; without it the server would tell so late, with a traceback)
    except ImportError:
        raise JetloomError("the driver of PostgreSQL is missing: pip install 'jetloom[server]'") from None
    directory = directory.resolve()
    sockets = directory / "socket"
    if len(str(sockets)) > SOCKET_LENGTH:
        raise JetloomError(f"{directory}: too long a path for a socket; at most {SOCKET_LENGTH - 7} characters")
    owner = _owner(postgres_user)
    _check_free(host, port)
    for path in (directory, sockets, directory / "artifacts"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        children["PostgreSQL"] = _start_postgres(directory, sockets, owner)
        uri = f"postgresql://{ROLE}@/postgres?host={sockets}"
        children["the MLflow server"] = _start_server(directory, uri, host, port, workers, allowed_hosts)
        _wait_for_server(children, directory, host, port)
        shown = "127.0.0.1" if host == "0.0.0.0" else host
        print(f"MLflow: http://{shown}:{port}  (all its files are in {directory}; Ctrl-C ends it)", flush=True)
        while True:
            _check(children, directory)
            time.sleep(1)
    except KeyboardInterrupt:
        return
    finally:
        # The server first, so that it loses no request; SIGINT makes PostgreSQL end at once, but cleanly.
        for name, how in (("the MLflow server", signal.SIGTERM), ("PostgreSQL", signal.SIGINT)):
            if name in children:
                _stop(children[name], how)


def _owner(name: str | None) -> dict[str, Any]:
    """Arguments of Popen that run PostgreSQL as a user it accepts."""
    if os.geteuid():
        if name is not None:
            raise JetloomError("--postgres-user is for root alone; leave it out")
        return {}
    if name is None:
        raise JetloomError("PostgreSQL does not run as root: be another user, or name one with --postgres-user")
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise JetloomError(f"--postgres-user: this machine knows no user {name!r}") from None
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise JetloomError(f"{host}:{port}: {error.strerror}; choose another with --host or --port") from None


def _program(name: str) -> str:
    found = shutil.which(name)
    for pattern in INSTALLATIONS:
        for place in sorted(glob.glob(pattern), reverse=True):
            found = found or shutil.which(name, path=place)
    if found is None:
        raise JetloomError(
            f"{name}: not found; install PostgreSQL (apt install postgresql, dnf install postgresql-server, "
            "conda install postgresql) or put its programs on the PATH"
        )
    return found


def _start_postgres(directory: Path, sockets: Path, owner: dict[str, Any]) -> subprocess.Popen[bytes]:
    data, log = directory / "postgres", directory / "postgres.log"
    if owner:
        # The owner of data and socket has to reach them; the directory's content stays root's.
        directory.chmod(0o711)
        data.mkdir(mode=0o700, exist_ok=True)
        for path in (data, sockets):
            os.chown(path, owner["user"], owner["group"])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with log.open("ab") as output:
        common = dict[str, Any](stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env=environment)
        if not (data / "PG_VERSION").is_file():
            command = [_program("initdb"), "-D", str(data), "-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale"]
            if subprocess.run(command, check=False, **common, **owner).returncode:
                raise JetloomError(f"{data}: the database could not be made; {log} says why")
        command = [_program("postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses="]
        started = subprocess.Popen(command, start_new_session=True, **common, **owner)
    import psycopg2

    while started.poll() is None:
        try:
            psycopg2.connect(host=str(sockets), user=ROLE, dbname="postgres").close()
            break
        except psycopg2.OperationalError:
            time.sleep(0.1)
    # Another one on the same data answers on the same socket, while ours gives up.
    if int((data / "postmaster.pid").read_text().split()[0]) != started.pid or started.poll() is not None:
        raise JetloomError(f"{data}: PostgreSQL ended; does it run already? {log} says why")
    return started


def _start_server(
    directory: Path, uri: str, host: str, port: int, workers: int, allowed_hosts: str | None
) -> subprocess.Popen[bytes]:
    arguments = ["--host", host, "--port", str(port), "--workers", str(workers)]
    arguments += ["--artifacts-destination", str(directory / "artifacts")]
    arguments += ["--allowed-hosts", allowed_hosts] if allowed_hosts else []
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,
        # Of no use here, and of eight more processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (directory / "server.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory, env=environment,
            start_new_session=True,
        )  # fmt: skip


def _wait_for_server(children: dict[str, subprocess.Popen[bytes]], directory: Path, host: str, port: int) -> None:
    health = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health"
    # A proxy of the site would be asked for this machine otherwise.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.monotonic()
    while True:
        _check(children, directory)
        try:
            opener.open(health, timeout=5).read()
            # Whoever answered: it is ours only if ours still runs.
            return _check(children, directory)
        except OSError:
            if time.monotonic() - began > PATIENCE:
                raise JetloomError(f"{health}: no answer; {directory / 'server.log'} says why") from None
            time.sleep(0.2)


def _check(children: dict[str, subprocess.Popen[bytes]], directory: Path) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            log = directory / ("postgres.log" if name == "PostgreSQL" else "server.log")
            raise JetloomError(f"{name} ended with status {child.returncode}; {log} says why")


def _stop(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if child.poll() is None:
        child.send_signal(how)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
