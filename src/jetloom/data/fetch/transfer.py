"""Bring one file here: from a directory or a server, resumed where it stopped, its checksum taken on the way."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from jetloom import __version__
from jetloom.config import RemoteFile
from jetloom.data.fetch.archives import require_space
from jetloom.data.fetch.checksums import CHUNK, Digests
from jetloom.errors import JetloomError

BUSY = (408, 425, 429, 500, 502, 503, 504)
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)


@dataclass(frozen=True)
class Patience:
    """How long to insist.

    Attributes:
        attempts: tries in a row that bring nothing new before the next mirror is asked.
        pause: seconds before the second try; doubled for each further one, two minutes at most.
        silence: seconds without a byte after which a connection counts as broken.
    """

    attempts: int = 6
    pause: float = 1.0
    silence: float = 60.0


class UnavailableError(Exception):
    """A location does not give the file; another one may."""


class StoppedError(Exception):
    """The user, or another file's failure, ended the transfer."""


def is_local(location: str) -> bool:
    """Whether a location is on this machine's file systems.

    Raises:
        JetloomError: a scheme that is not http, https or file.
    """
    scheme = location.partition("://")[0] if "://" in location else "file"
    if scheme not in ("http", "https", "file"):
        raise JetloomError(f"{location}: cannot be read; a mirror is http://, https://, file:// or a directory")
    return scheme == "file"


def local_path(location: str) -> Path:
    """The path of a local location, ``~`` expanded."""
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    return Path(path).expanduser().absolute()


class Transfer:
    """The way of one file to a partial copy, which survives everything but success.

    Args:
        file: what is known of it.
        partial: where its bytes are collected; a later transfer goes on from there.
        checked: whether its checksum is known, so that bytes of several servers may be joined.
        tick: told the bytes that came; less than nothing when they have to come again.
        total: told the size when the server says it.
        stop: set to end the transfer.
    """

    def __init__(
        self,
        file: RemoteFile,
        partial: Path,
        *,
        checked: bool,
        tick: Callable[[int], None],
        total: Callable[[int], None],
        stop: threading.Event,
        patience: Patience,
    ) -> None:
        self.file = file
        self.partial = partial
        self.digests = Digests()
        self._checked = checked
        self._tick = tick
        self._total = total
        self._stop = stop
        self._patience = patience
        # Of which version of the file, on which server, the partial copy is.
        self._origin = partial.with_name(f"{partial.name}.origin")

    def fetch(self, location: str) -> Path:
        """Get the whole file; ``digests`` then holds its sums.

        Returns:
            The partial copy, complete; or the local file itself.

        Raises:
            UnavailableError: not there, or the server kept failing.
            StoppedError: ``stop`` was set.
            JetloomError: no room on the disk.
        """
        if is_local(location):
            return self._read_local(local_path(location))
        self._load_partial()
        failures, best = 0, self.digests.size
        while True:
            try:
                with _session() as session:
                    self._receive(session, location)
                return self.partial
            except BROKEN as error:
                # A server that begins anew each time must get further than ever before to count as progress.
                failures = 0 if self.digests.size > best else failures + 1
                best = max(best, self.digests.size)
                if failures >= self._patience.attempts:
                    raise UnavailableError(_short(error)) from None
            if self._stop.wait(min(self._patience.pause * 2 ** min(failures, 10), 120.0)):
                raise StoppedError

    def discard(self) -> None:
        """Forget the partial copy."""
        self.partial.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def _read_local(self, path: Path) -> Path:
        if not path.is_file():
            raise UnavailableError("no such file")
        self._total(path.stat().st_size)
        self._restart()
        self.digests.read(path, self._advance)
        return path

    def _load_partial(self) -> None:
        self._restart()
        if self.partial.exists():
            self.digests.read(self.partial, self._advance)

    def _restart(self) -> None:
        self._tick(-self.digests.size)
        self.digests.reset()

    def _advance(self, size: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._tick(size)

    def _receive(self, session: requests.Session, url: str) -> None:
        with session.get(
            url, headers=self._range(url), stream=True, timeout=(self._patience.silence, self._patience.silence)
        ) as reply:
            if reply.status_code == 416:
                # Killed after the last byte, or there are more bytes here than there.
                if reply.headers.get("Content-Range") == f"bytes */{self.digests.size}":
                    return
                self._restart()
                self.discard()
                raise requests.ConnectionError("the partial copy is longer than the file; starting again")
            self._check(reply)
            if reply.status_code == 200:
                self._restart()
            elif not reply.headers.get("Content-Range", "").startswith(f"bytes {self.digests.size}-"):
                self._restart()
                self.discard()
                raise requests.ConnectionError("the server continues at another byte than asked; starting again")
            self._write(reply, url)

    def _range(self, url: str) -> dict[str, str]:
        # Bytes as they are: requests would unpack a .gz that is sent as an encoding.
        headers = {"Accept-Encoding": "identity"}
        if not self.digests.size:
            return headers
        origin = json.loads(self._origin.read_text()) if self._origin.exists() else {}
        if origin.get("url") == url and origin.get("version"):
            # The server sends the whole file if it has changed meanwhile.
            return headers | {"Range": f"bytes={self.digests.size}-", "If-Range": origin["version"]}
        if self._checked:
            return headers | {"Range": f"bytes={self.digests.size}-"}
        self._restart()
        self.discard()
        return headers

    def _check(self, reply: requests.Response) -> None:
        if reply.status_code in BUSY:
            raise requests.ConnectionError(f"{reply.status_code} {reply.reason}")
        if reply.status_code not in (200, 206):
            raise UnavailableError(f"{reply.status_code} {reply.reason}")
        if reply.headers.get("Content-Type", "").startswith("text/html"):
            raise UnavailableError("a web page came instead of the file")
        length = reply.headers.get("Content-Length")
        if length is None:
            return
        left = int(length)
        size = left + (self.digests.size if reply.status_code == 206 else 0)
        if self.file.size is not None and size != self.file.size:
            raise UnavailableError(f"the file there has {size} bytes, expected {self.file.size}")
        self._total(size)
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        require_space(self.partial.parent, left, self.file.name)

    def _write(self, reply: requests.Response, url: str) -> None:
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        version = reply.headers.get("ETag", "")
        if not version or version.startswith("W/"):
            version = reply.headers.get("Last-Modified", "")
        with self.partial.open("ab" if self.digests.size else "wb") as file:
            self._origin.write_text(json.dumps({"url": url, "version": version}))
            for data in reply.raw.stream(CHUNK, decode_content=False):
                file.write(data)
                self.digests.update(data)
                self._advance(len(data))
            file.flush()
            os.fsync(file.fileno())


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = f"jetloom/{__version__}"
    # A server that is busy says for how long (Retry-After); two quick tries here, the patient ones in fetch().
    retry = urllib3.Retry(
        total=2, backoff_factor=0.2, status_forcelist=BUSY, raise_on_status=False, respect_retry_after_header=True
    )
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session


def _short(error: Exception) -> str:
    # urllib3 wraps the reason in several layers; the innermost says it.
    while (inner := getattr(error, "reason", None) or next(iter(error.args), None)) and isinstance(inner, Exception):
        error = inner
    return str(error).split("\n")[0] or type(error).__name__
