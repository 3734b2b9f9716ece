"""The web folder: what lies in it, how its page prepares photographs, and that a browser classifies one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilevit_fast as mvf
from mobilevit_fast.export import export, web_runtime
from mobilevit_fast.image import Preprocessing, load_image, preprocess

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

PHOTOGRAPH = Path(__file__).parents[1] / "data" / "cat.jpg"
NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium") or shutil.which("google-chrome")

needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    """onnxruntime-web, or a skip where npm has none."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("npm")
    try:
        return web_runtime._npm_pack(folder)
    except ConnectionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, runtime):
    path = tmp_path_factory.mktemp("web") / "page"
    report = export("mobilevit_xxs.cifar10", "web", path, runtime_folder=str(runtime))
    assert report.passed
    assert report.runtime == f"onnxruntime-web {web_runtime.VERSION}"
    return path


# ---- the runtime's files


def package(folder, files=web_runtime.FILES):
    """A package with empty files."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "9.8.7"}')
    for name in files:
        (folder / "dist" / name).touch()
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_runtime_that_the_user_has(tmp_path, packed):
    given = package(tmp_path / "package")
    if packed:
        given = tmp_path / "runtime.tgz"
        with tarfile.open(given, "w:gz") as archive:
            archive.add(tmp_path / "package", "package")
    web_runtime.add_runtime(tmp_path / "runtime", str(given))
    names = {file.name for file in (tmp_path / "runtime").iterdir()}
    assert names == {*web_runtime.FILES, "package.json", "LICENSE"}
    assert web_runtime.version_in(tmp_path / "runtime") == "9.8.7"


def test_what_is_no_runtime(tmp_path):
    lacking = package(tmp_path / "lacking", web_runtime.FILES[1:])
    text = tmp_path / "text.tgz"
    text.write_text("no archive")
    for given, error, message in (
        (lacking, ValueError, f"has no dist/{web_runtime.FILES[0]}"),
        (text, ValueError, "is not the npm package onnxruntime-web"),
        (tmp_path / "nowhere", FileNotFoundError, "--runtime-folder"),
    ):
        with pytest.raises(error, match=message):
            web_runtime.add_runtime(tmp_path / f"{given.name}.runtime", str(given))


def test_without_npm_or_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="npm, which is not installed; give runtime_folder"):
        web_runtime.add_runtime(tmp_path / "a", "")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho offline >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(ConnectionError, match=r"could not get onnxruntime-web .* \(offline\); give"):
        web_runtime.add_runtime(tmp_path / "b", "")


def test_without_node(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="checked under Node"):
        export(checkpoint, "web", tmp_path / "page")
    assert list(tmp_path.iterdir()) == []


# ---- the page


RULES = [
    Preprocessing(),
    Preprocessing(shortest_edge=100, crop_size=(90, 97), crop_rounding="even", channel_order="RGB"),
    Preprocessing(shortest_edge=60, crop_size=(80, 81), resample="bicubic", mean=(0.4,) * 3, std=(0.2,) * 3),
    Preprocessing(shortest_edge=None, exact_size=(300, 500), crop_size=None, resample="lanczos"),
    Preprocessing(shortest_edge=70, crop_size=(64, 64), resample="nearest"),
    Preprocessing(shortest_edge=70, crop_size=(64, 64), resample="hamming"),
    Preprocessing(shortest_edge=70, crop_size=(64, 64), resample="box"),
]

PREPARE = """
import { readFileSync } from "node:fs";
import { prepare } from %r;
const { width, height, rule, raw } = JSON.parse(process.argv[1]);
const { data } = prepare({ data: readFileSync(0), width, height }, rule, raw);
process.stdout.write(new Uint8Array(data.buffer));
"""


def prepared_by_the_page(image, rule, raw):
    script = PREPARE % str(Path(mvf.__file__).parent / "export" / "web" / "prepare.js")
    given = {"width": image.width, "height": image.height, "rule": rule.to_dict(), "raw": raw}
    outcome = subprocess.run(
        [NODE, "--no-warnings", "--input-type=module", "--eval", script, json.dumps(given)],
        input=image.convert("RGBA").tobytes(),
        capture_output=True,
        check=True,
    )
    return np.frombuffer(outcome.stdout, np.uint8 if raw else np.float32)


@needs_node
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.resample)
def test_the_page_prepares_a_photograph_as_python_does(rule):
    image = load_image(PHOTOGRAPH)
    expected = preprocess([image], rule)
    found = prepared_by_the_page(image, rule, raw=False).reshape(expected.shape)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@needs_node
def test_raw_pixels_are_bytes_in_rgb_order():
    image = Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3))
    rule = Preprocessing(shortest_edge=None, crop_size=(3, 6))
    found = prepared_by_the_page(image, rule, raw=True).reshape(3, 3, 6)
    expected = np.zeros((3, 3, 6), np.uint8)
    expected[:, :, 1:5] = np.asarray(image)[1:4].transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected)


@needs_node
def test_what_lies_in_the_folder(folder):
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert facts["labels"][3] == "cat"
    assert facts["bytes"] == (folder / "model.onnx").stat().st_size
    page = (folder / "index.html").read_text() + (folder / "app.js").read_text()
    for name in ("style.css", "app.js", "worker.js", "icon.svg", "model.json"):
        assert name in page
        assert (folder / name).is_file()
    for file in folder.glob("*.*"):
        if file.suffix in (".html", ".js", ".css", ".json"):
            assert "https://" not in file.read_text(encoding="utf-8")


@needs_node
def test_raw_pixels_in_and_probabilities_out(tmp_path, checkpoint, runtime):
    path = tmp_path / "page"
    report = export(checkpoint, "web", path, runtime_folder=str(runtime), raw_pixels=True, softmax=True)
    assert report.passed
    assert str(runtime) not in (tmp_path / "page.json").read_text()


def browse(folder, photograph):
    """What the page in the folder shows of the photograph in a real browser, and where it is served."""
    server = subprocess.Popen(
        [sys.executable, str(folder / "serve.py"), "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with server:
        try:
            address = server.stdout.readline().decode().strip()
            driver = str(Path(__file__).parent / "browser.mjs")
            outcome = subprocess.run(
                [NODE, "--experimental-websocket", "--no-warnings", driver, CHROMIUM, address, photograph],
                capture_output=True,
                check=True,
                timeout=300,
            )
        finally:
            server.terminate()
    return json.loads(outcome.stdout), address


@needs_node
@needs_chromium
def test_a_browser_classifies_a_photograph(folder):
    shown, address = browse(folder, PHOTOGRAPH)
    [expected] = mvf.Session("mobilevit_xxs.cifar10").classify(PHOTOGRAPH)
    assert [label for label, _ in shown["answers"]] == [prediction.label for prediction in expected]
    for (_, score), prediction in zip(shown["answers"], expected, strict=True):
        # The browser's own decoder comes near Pillow's, not more.
        assert abs(score - 100 * prediction.score) < 2
    assert shown["measurable"]
    assert "median of 20 runs" in shown["measured"]
    assert shown["isolated"]
    assert "WebAssembly, 2 threads" in shown["engines"]
    assert not shown["overflow"]
    assert shown["origins"] == [address]
    assert shown["complaints"] == []


@needs_node
@needs_chromium
def test_a_browser_measures_nothing_where_there_is_no_photograph(folder, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photograph")
    shown, _ = browse(folder, str(broken))
    assert "could not be decoded" in shown["status"]
    assert shown["answers"] == []
    assert not shown["measurable"]
