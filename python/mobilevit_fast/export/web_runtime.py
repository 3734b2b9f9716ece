"""onnxruntime-web's files: from a folder or archive that the user has, or through npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
"""What npm is asked for; a package that the user gives may be another."""

FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""On the CPU, and on WebGPU: each what the page imports, and what that fetches."""

MANIFEST = "package.json"

_NAMES = (MANIFEST, *(f"dist/{file}" for file in FILES))

_HINT = (
    f"give runtime_folder (--runtime-folder): the npm package {PACKAGE} unpacked, or the .tgz that "
    f"'npm pack {PACKAGE}@{VERSION}' writes where there is a network"
)

_LICENSE = """MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def add_runtime(folder: Path, given: str) -> None:
    """Fills a new `folder` with the runtime's files.

    Args:
        given: the package's folder or archive; "" to have npm fetch it, or take it from its own cache.

    Raises:
        FileNotFoundError: `given` does not exist, or there is no npm.
        ValueError: `given` is no such package, or lacks a file.
        ConnectionError: npm could not get it.
    """
    folder.mkdir()
    if not given:
        with TemporaryDirectory() as downloads:
            _unpack(_npm_pack(Path(downloads)), folder)
    elif Path(given).is_dir():
        _copy(Path(given), folder)
    elif Path(given).is_file():
        _unpack(Path(given), folder)
    else:
        raise FileNotFoundError(f"there is no {given!r}; {_HINT}")
    (folder / "LICENSE").write_text(_LICENSE, encoding="utf-8")


def version_in(folder: Path) -> str:
    """Of the runtime that `add_runtime` put there."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["version"]


def _npm_pack(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"format 'web' takes {PACKAGE} through npm, which is not installed; {_HINT}")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--silent", "--fetch-retries=1"]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tgz"))
    if outcome.returncode or not archives:
        # Silent npm says nothing of a failure but in its log.
        said = outcome.stderr.strip().splitlines()[-1:] or ["no network?"]
        raise ConnectionError(f"npm could not get {PACKAGE} {VERSION} ({said[0]}); {_HINT}")
    return archives[0]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as package:
            for name in _NAMES:
                content = package.extractfile(f"package/{name}")
                (folder / Path(name).name).write_bytes(content.read())
    except (tarfile.TarError, KeyError) as error:
        raise ValueError(f"{str(archive)!r} is not the npm package {PACKAGE}: {error}; {_HINT}") from error


def _copy(package: Path, folder: Path) -> None:
    for name in _NAMES:
        if not (package / name).is_file():
            raise ValueError(f"{str(package)!r} has no {name}: it is not the npm package {PACKAGE}; {_HINT}")
        shutil.copyfile(package / name, folder / Path(name).name)
