"""A folder pushed to a hub that runs inside the test."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from checkpoints import random_checkpoint, write_transformers

pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks of one that takes small files."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.append(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self.answer({"url": f"http://{self.headers['Host']}/{self.server.repository}"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            assert match[1] == self.server.repository
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer({"files": modes})
        if self.path == f"/api/models/{self.server.repository}/commit/main":
            if self.server.refuses:
                return self.answer({"error": "You may not write here"}, status=403)
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"http://{self.headers['Host']}/{self.server.repository}/commit/{'0' * 40}"
            return self.answer({"commitUrl": address, "commitOid": "0" * 40, "success": True})
        return self.answer({"error": "not here"}, status=404)

    def do_GET(self):
        self.answer({"id": self.server.repository, "sha": "0" * 40, "siblings": []})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet: what came is in the server's lists."""


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repository, server.refuses = "someone/flowers", False
    server.created, server.tokens, server.files = [], [], {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run_python(arguments, hub, cache):
    """In a process of its own, because the client reads its settings when it is imported; its output."""
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(cache),
        "HF_TOKEN": "hf_of_a_test",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def push(folder, hub, cache):
    code = """
import sys
from pathlib import Path
from mobilevit_fast.weights import upload
try:
    print(upload(Path(sys.argv[1]), "someone/flowers", private=True, leave_out=("checkpoints/*",)))
except OSError as error:
    print("refused:", error)
"""
    return run_python(["-c", code, folder], hub, cache)


def test_a_folder_arrives_whole_and_without_its_checkpoints(hub, tmp_path):
    folder = write_transformers(tmp_path / "out", random_checkpoint())
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# Flowers\n")
    (folder / "checkpoints" / "float").mkdir(parents=True)
    (folder / "checkpoints" / "float" / "optimizer.pt").write_bytes(b"large")
    assert push(folder, hub, tmp_path / "cache").endswith("/someone/flowers")
    [created] = hub.created
    assert (created["name"], created["organization"]) == ("flowers", "someone")
    assert created.get("private") or created.get("visibility") == "private"
    assert set(hub.tokens) == {"Bearer hf_of_a_test"}
    wanted = ("README.md", "config.json", "model.safetensors", "preprocessor_config.json")
    assert hub.files == {name: (folder / name).read_bytes() for name in wanted}


def test_a_refusal_is_one_sentence(hub, tmp_path):
    hub.refuses = True
    folder = write_transformers(tmp_path / "out", random_checkpoint())
    said = push(folder, hub, tmp_path / "cache")
    assert said.startswith(
        f"refused: {str(folder)!r} could not be pushed to 'someone/flowers'; check the name"
    )
    assert len(said.splitlines()) == 1


def test_a_fine_tuned_model_is_pushed_by_its_command(hub, tmp_path):
    pytest.importorskip("accelerate")
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (40, 40), (180 * label + index,) * 3).save(
                tmp_path / "data" / name / f"{index}.png"
            )
    command = ["-m", "mobilevit_fast", "finetune", tmp_path / "data", "--model", "mobilevit_xxs.cifar10"]
    command += ["-o", tmp_path / "out", "--epochs", 1, "--size", 32, "--batch", 4, "--hold-out", 0.5]
    command += ["--push-to-hub", "someone/flowers", "--private"]
    assert run_python(command, hub, tmp_path / "cache").endswith("/someone/flowers")
    for name in ("README.md", "config.json", "model.safetensors", "report.json"):
        assert hub.files[name] == (tmp_path / "out" / name).read_bytes()
    assert not any(name.startswith("checkpoints") for name in hub.files)
