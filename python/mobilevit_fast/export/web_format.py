"""A folder to put on any web server: a page that classifies photographs in the browser.

It holds the ONNX file, onnxruntime-web, the page and `serve.py`; labels, preprocessing and what else the
page needs to know lie in `FACTS`. Nothing in it asks anything of any other place. What is checked is that
ONNX file in that very runtime, under Node.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import weakref
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_fast.export import onnx_format
from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job
from mobilevit_fast.export.web_runtime import add_runtime, version_in

MODEL, FACTS, RUNTIME = "model.onnx", "model.json", "runtime"

PAGE = (
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "worker.js",
    "prepare.js",
    "resize.js",
    "serve.py",
)

OLDEST_NODE = 18


def write(job: Job, path: Path) -> None:
    """Raises FileNotFoundError without Node.js, and as `add_runtime` does."""
    _node()
    path.mkdir()
    add_runtime(path / RUNTIME, job.options.of_format.runtime_folder)
    for name in PAGE:
        (path / name).write_bytes(_source(name).read_bytes())
    onnx_format.write(job, path / MODEL)
    (path / FACTS).write_text(
        json.dumps(facts(job, (path / MODEL).stat().st_size), indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


def load(job: Job, path: Path) -> Run:
    return _InNode(job, path)


def runtime_version(path: Path) -> str:
    """Of the runtime in the folder."""
    return version_in(path / RUNTIME)


def facts(job: Job, size: int) -> dict[str, Any]:
    """What the page needs to know of a model of `size` bytes."""
    source, options = job.source, job.options
    rule = source.preprocessing
    if rule.crop_size != options.size:
        # A model of another size than the checkpoint's sees the whole image at that size.
        rule = replace(rule, shortest_edge=None, exact_size=options.size, crop_size=None)
    return {
        "name": source.config.name,
        "file": MODEL,
        "bytes": size,
        "size": list(options.size),
        "input": options.input_name,
        "output": options.output_name,
        "raw": options.raw_pixels,
        "softmax": options.softmax,
        "preprocessing": rule.to_dict(),
        "labels": list(source.labels),
    }


class _InNode:
    """The model in a process of Node's, which ends with this object."""

    def __init__(self, job: Job, path: Path) -> None:
        self.dtype = np.uint8 if job.options.raw_pixels else np.float32
        self.process = subprocess.Popen(
            [_node(), str(_source("run_in_node.mjs")), str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        weakref.finalize(self, _end, self.process)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.send({"dims": images.shape}, np.ascontiguousarray(images, self.dtype).tobytes())
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"onnxruntime-web failed: {self.process.stderr.read().decode()[-2000:]}")
        shape = json.loads(line)["dims"]
        content = self.process.stdout.read(int(np.prod(shape)) * 4)
        return np.frombuffer(content, np.float32).reshape(shape)

    def send(self, header: dict[str, Any], content: bytes) -> None:
        try:
            self.process.stdin.write(json.dumps(header).encode() + b"\n" + content)
            self.process.stdin.flush()
        except BrokenPipeError:
            # It has ended: its standard error, read next, says why.
            return


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def _source(name: str) -> Path:
    return Path(str(files("mobilevit_fast.export"))) / "web" / name


def _node() -> str:
    """The program's path. Raises FileNotFoundError where it is missing or too old."""
    node = shutil.which("node")
    needed = f"format 'web' is checked under Node.js {OLDEST_NODE} or newer"
    if node is None:
        raise FileNotFoundError(f"{needed}, which is not installed; 'node' must be on the PATH")
    found = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(found.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise FileNotFoundError(f"{needed}, found {found}")
    return node
