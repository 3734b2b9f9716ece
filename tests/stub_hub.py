"""A hub of models and data sets that runs inside a test, for its client to download from."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks of one: repository info, tree, and files."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        path = urlsplit(self.path).path.strip("/")
        for repository, folder in self.server.repositories.items():
            if path.startswith((f"api/models/{repository}/", f"api/datasets/{repository}/")):
                return self.send(json.dumps(self.describe(path, repository, folder)).encode(), with_body)
            if path.startswith((f"{repository}/resolve/", f"datasets/{repository}/resolve/")):
                file = folder / path.rsplit("/", 1)[-1]
                if file.is_file():
                    if with_body:
                        self.server.fetched.append(file.name)
                    return self.send(file.read_bytes(), with_body)
                return self.send(b"", with_body, status=404, error="EntryNotFound")
        return self.send(b"", with_body, status=404, error="RepoNotFound")

    def describe(self, path, repository, folder):
        files = sorted(folder.iterdir())
        if "/tree/" in path:
            return [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": COMMIT}
                for file in files
            ]
        return {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": file.name} for file in files]}

    def send(self, body, with_body, status=200, error=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        """Quiet: what was asked is in `fetched`."""


@pytest.fixture
def hub(tmp_path):
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repositories, server.fetched = {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(hub):
    return f"http://127.0.0.1:{hub.server_port}"
