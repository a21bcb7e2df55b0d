"""A process that has imported everything and forks for each call of snakemake and jetloom, which saves their imports.

``python -m tests.support.warm SOCKET MODULE`` serves the PROGRAMS of a module; :data:`CLIENT` is the program that
takes the place of ``jetloom``, and :func:`call` asks for anything else. A call has its caller's standard streams and
directory, and dies its death.
"""

import array
import gc
import importlib
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
import _socket, posix, sys
server = _socket.socket(_socket.AF_UNIX)
server.connect({path!r})
words = ["jetloom", posix.getcwd(), str(posix.getpgid(0)), *sys.argv[1:]]
request = "\\0".join([str(len(words)), *words, ""]).encode(errors="surrogateescape")
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (1, 2))
sent = server.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(request[sent:])
status = b""
while some := server.recv(99):
    status += some
status = int(status or -9)
if status < 0:
    posix.kill(posix.getpid(), -status)
sys.exit(status)
"""
"""Without the modules `socket` and `json`, whose import takes longer than Python's own start."""


def call(path: Path, what: str, arguments: list[str], directory: Path, output: Path) -> int:
    """Run something in the process; its exit status, negative for a signal. Both streams go to a file."""
    words = [what, str(directory), "", *arguments]
    request = "\0".join([str(len(words)), *words, ""]).encode()
    with socket.socket(socket.AF_UNIX) as server, output.open("w") as file:
        server.connect(str(path))
        server.sendall(request[socket.send_fds(server, [request], [file.fileno(), file.fileno()]) :])
        return int(server.makefile().read() or -signal.SIGKILL)


def serve(path: Path, programs: dict[str, Callable[[list[str], int | None], object]]) -> None:
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
            words, streams = _receive(connection)
            worker = os.fork()
            if not worker:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for opened in (listening, connection, *waiting.values()):
                    opened.close()
                _work(words, streams, programs)
            waiting[worker] = connection
            for stream in streams:
                os.close(stream)


def _work(words: list[str], streams: list[int], programs: dict[str, Callable[[list[str], int | None], object]]) -> None:
    """In a child: run what was asked for, and end."""
    what, directory, driver, *arguments = words
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
    os.setpgid(0, 0)
    os.chdir(directory)
    os._exit(_status(lambda: programs[what](arguments, int(driver) if driver else None)))


def _receive(connection: socket.socket) -> tuple[list[str], list[int]]:
    """A request, its words after their number, and the streams that come with its first bytes."""
    text, streams = b"", array.array("i")
    while not text or text.count(b"\0") <= int(text.partition(b"\0")[0]):
        some, received, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        text += some
        streams.extend(received)
    return text.decode(errors="surrogateescape").split("\0")[1:-1], list(streams)


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
