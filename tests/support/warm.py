"""A process that has imported everything and forks for each call of snakemake and jetloom, which saves their imports.

``python -m tests.support.warm SOCKET MODULE`` serves the PROGRAMS of a module; :data:`CLIENT` is the program that
takes the place of ``jetloom``, and :func:`call` asks for anything else. A call has its caller's standard streams and
directory, and dies its death.
"""

import array
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
request = dict(what="jetloom", arguments=sys.argv[1:], directory=os.getcwd(), driver=os.getpgid(0))
socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [1, 2])
status = int(server.makefile().read() or -signal.SIGKILL)
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


def call(path: Path, what: str, arguments: list, directory: Path, output: Path) -> int:
    """Run something in the process; its exit status, negative for a signal. Both streams go to a file."""
    with socket.socket(socket.AF_UNIX) as server, output.open("w") as file:
        server.connect(str(path))
        request = {"what": what, "arguments": arguments, "directory": str(directory), "driver": None}
        socket.send_fds(server, [json.dumps(request).encode() + b"\n"], [file.fileno(), file.fileno()])
        return int(server.makefile().read() or -signal.SIGKILL)


def serve(path: Path, programs: dict[str, Callable[[list, int | None], object]]) -> None:
    """Answer calls until killed, or left alone by its parent.

    Args:
        path: socket.
        programs: by what a request asks for; each takes the arguments and the process group of the driver.
    """
    # A collection in a child would touch, and so copy, all pages.
    gc.collect()
    gc.disable()
    gc.freeze()
    listening, (ended, wake) = socket.socket(socket.AF_UNIX), os.pipe()
    listening.bind(str(path))
    listening.listen(64)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    waiting: dict[int, socket.socket] = {}
    parent = os.getppid()
    while os.getppid() == parent:
        ready, _, _ = select.select([listening, ended], [], [], 5)
        if ended in ready:
            os.read(ended, 4096)
            for worker in list(waiting):
                found, status = os.waitpid(worker, os.WNOHANG)
                if found:
                    with waiting.pop(worker) as connection, suppress(BrokenPipeError):
                        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        if listening in ready:
            connection, _ = listening.accept()
            text, streams = _receive(connection)
            worker = os.fork()
            if not worker:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for opened in (listening, connection, *waiting.values()):
                    opened.close()
                _work(json.loads(text), streams, programs)
            waiting[worker] = connection
            for stream in streams:
                os.close(stream)


def _work(request: dict, streams: list[int], programs: dict[str, Callable[[list, int | None], object]]) -> None:
    """In a child: run what was asked for, and end."""
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
    os.setpgid(0, 0)
    os.chdir(request["directory"])
    os._exit(_status(lambda: programs[request["what"]](request["arguments"], request["driver"])))


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A request, one line, and the streams that come with its first bytes."""
    text, streams = b"", array.array("i")
    while not text.endswith(b"\n"):
        some, received, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        text += some
        streams.extend(received)
    return text, list(streams)


def _status(program: Callable[[], object]) -> int:
    try:
        program()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve(Path(sys.argv[1]), importlib.import_module(sys.argv[2]).PROGRAMS)
