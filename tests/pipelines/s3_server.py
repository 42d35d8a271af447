"""An S3 server on a port of this machine, and a proxy before it that answers every tenth request with an error."""

import http.client
import itertools
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bucket"


@contextmanager
def s3_server(monkeypatch, *, fail_every: int | None = None):
    """Points the AWS environment at a fresh server; gives the proxy, whose `num_failed` counts its errors."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # its clients remember an earlier server
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Unreliable)
    proxy.upstream, proxy.fail_every, proxy.numbers, proxy.num_failed = port, fail_every, itertools.count(1), 0
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_address[1]}")
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the errors are for our patience, not for the client's own
    try:
        # Every server of this process has the same memory: what an earlier test stored would be here.
        assert _request(port, "POST", "/moto-api/reset")[0] == 200
        assert _request(port, "PUT", f"/{BUCKET}")[0] == 200
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
        server.stop()


def _request(port, method, path, body=b"", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


class _Unreliable(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *about): ...

    def _pass_on(self):
        number = next(self.server.numbers)
        body = self._body()
        if self.server.fail_every and number % self.server.fail_every == 0:
            self.server.num_failed += 1
            return self._answer(500 if number % 2 else 503, [], b"")
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        headers["Content-Length"] = str(len(body))
        return self._answer(*_request(self.server.upstream, self.command, self.path, body, headers))

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status, headers, body):
        self.send_response(status)
        kept = dict(headers)
        length = kept.get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


for _method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
    setattr(_Unreliable, f"do_{_method}", _Unreliable._pass_on)
