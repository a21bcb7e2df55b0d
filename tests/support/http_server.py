"""A real HTTP server on loopback that misbehaves as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how badly.

    Attributes:
        files: path -> content.
        cut_after: bytes after which each connection breaks; None: never.
        hold_after: bytes after which an answer waits for ``gate``; None: never.
        ranges: whether the server knows ranges.
        refusals: status codes given, in turn, before the first good answer.
        seen: method, path, range and status of each answer.
    """

    files: dict[str, bytes]
    cut_after: int | None = None
    hold_after: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    ranges: bool = True
    refusals: list[int] = field(default_factory=list)
    retry_after: str | None = None
    content_type: str = "application/octet-stream"
    length: bool = True
    version: str = '"1"'
    seen: list[tuple[str, str | None, int]] = field(default_factory=list)
    url: str = ""

    def statuses(self) -> list[int]:
        return [status for _, _, status in self.seen]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _say(self, status: int, headers: dict[str, str]) -> None:
            site.seen.append((self.path, self.headers.get("Range"), status))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()

        def do_GET(self) -> None:
            if site.refusals:
                headers = {"Content-Length": "0"} | ({"Retry-After": site.retry_after} if site.retry_after else {})
                return self._say(site.refusals.pop(0), headers)
            content = site.files.get(self.path.lstrip("/").partition("?")[0])
            if content is None:
                return self._say(404, {"Content-Length": "0"})
            start, status = 0, 200
            headers = {"Content-Type": site.content_type, "ETag": site.version}
            wanted = self.headers.get("Range") if site.ranges else None
            if wanted and self.headers.get("If-Range", site.version) == site.version:
                start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
                if start >= len(content):
                    return self._say(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body = content[start:]
            if site.length:
                headers["Content-Length"] = str(len(body))
            else:
                headers["Connection"] = "close"
            self._say(status, headers)
            if site.cut_after is not None and len(body) > site.cut_after:
                self.wfile.write(body[: site.cut_after])
            elif site.hold_after is not None:
                self.wfile.write(body[: site.hold_after])
                site.gate.wait(60)
            else:
                self.wfile.write(body)
                if site.length:
                    return None
            self.close_connection = True
            return None

    return Handler


@contextmanager
def served(**settings) -> Iterator[Site]:
    """A site on a free port of 127.0.0.1."""
    site = Site(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        site.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
