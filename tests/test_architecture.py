"""The arrows of the design, held from the real imports and includes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "mobilevit_fast"
SOURCES = ROOT / "csrc"

LEAVES = {
    "arguments",
    "config",
    "files",
    "image",
    "json_text",
    "parquet",
    "pictures",
    "predictions",
    "progress",
    "weights",
}
RUNTIME = LEAVES | {"_C", "folding", "lower", "lower_quantized"}
PYTHON_MAY_USE = {
    "arguments": set(),
    "parquet": set(),
    "files": set(),
    "json_text": set(),
    "pictures": {"files"},
    "progress": set(),
    "config": {"arguments"},
    "image": {"_C", "config"},
    "weights": {"arguments", "config", "files", "image"},
    "folding": {"config", "weights"},
    "lower": LEAVES | {"_C", "folding"},
    "integer_weights": {"weights"},
    "lower_quantized": LEAVES | {"folding", "lower", "integer_weights"},
    "decode_ahead": {"image"},
    "native_libraries": {"_C"},
    "c_library": {"_C"},
    "cuda": {"_C"},
    "cuda_images": {"_C", "image", "cuda"},
    "predictions": set(),
    "precision": RUNTIME | {"cuda"},
    "session": RUNTIME | {"cuda", "cuda_images", "decode_ahead", "precision"},
    "benchmark": RUNTIME | {"session"},
    "serve": LEAVES | {"decode_ahead", "session"},
    "offline": LEAVES | {"session"},
    "integrations": LEAVES | {"session", "serve"},
    "ops": LEAVES | {"_C"},
    "model": RUNTIME | {"cuda", "ops"},
    "evaluation": LEAVES | {"decode_ahead"},
    "quantization": RUNTIME | {"ops", "model", "evaluation"},
    "train": RUNTIME | {"ops", "model", "evaluation", "quantization"},
    "export": RUNTIME
    | {
        "integer_weights",
        "precision",
        "session",
        "c_library",
        "benchmark",
        "evaluation",
        "ops",
        "model",
        "quantization",
    },
    "cli": RUNTIME
    | {
        "precision",
        "session",
        "serve",
        "offline",
        "benchmark",
        "ops",
        "model",
        "evaluation",
        "quantization",
        "train",
        "export",
    },
    "__init__": set(),
    "__main__": {"cli"},
}
"""Part of the package -> parts whose modules it may import, besides its own."""

WITHOUT_TORCH = LEAVES | {
    "folding",
    "integer_weights",
    "lower",
    "lower_quantized",
    "native_libraries",
    "precision",
    "benchmark",
    "cuda",
    "cuda_images",
    "decode_ahead",
    "c_library",
    "evaluation",
    "session",
    "serve",
    "offline",
    "integrations",
}

CPP_MAY_INCLUDE = {
    "base": set(),
    "kernels": {"base"},
    "cuda": {"base", "kernels", "image"},
    "engine": {"base", "kernels", "cuda"},
    "image": set(),
    "model_file": {"base", "kernels", "engine", "image"},
    "c_api": {"base", "kernels", "engine", "image", "model_file"},
    "python": {"base", "kernels", "cuda", "engine", "image", "model_file"},
    "onnxruntime": {"base", "kernels", "engine"},
}
"""Folder of csrc -> folders whose headers it may include, besides its own."""


def part_of(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0].removesuffix(path.suffix)


def imports_of(path: Path) -> set[str]:
    """Parts of the package that a module imports, at the top or anywhere inside."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            plain = node.module == "mobilevit_fast"
            modules = [f"{node.module}.{alias.name}" for alias in node.names] if plain else [node.module]
        parts |= {name.split(".")[1] for name in modules if name.startswith("mobilevit_fast.")}
    return parts


def python_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def native_sources() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cpp", ".cu"))


@pytest.mark.parametrize("path", python_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_imports_follow_the_arrows(path):
    part = part_of(path, PACKAGE)
    assert part in PYTHON_MAY_USE, f"{part} is new: give it its place among the arrows"
    assert imports_of(path) - {part} <= PYTHON_MAY_USE[part]


@pytest.mark.parametrize("path", native_sources(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_includes_follow_the_arrows(path):
    folder = part_of(path, SOURCES)
    assert folder in CPP_MAY_INCLUDE, f"{folder} is new: give it its place among the arrows"
    included = set(re.findall(r'^\s*#\s*include\s+"([^"/]+)/', path.read_text(), re.MULTILINE))
    assert included - {folder} <= CPP_MAY_INCLUDE[folder]


def test_own_headers_are_included_by_their_folder():
    """So that the test above sees every include of ours."""
    headers = {path.name for path in native_sources() if path.suffix == ".h"}
    for path in native_sources():
        bare = set(re.findall(r'^\s*#\s*include\s+"([^"/]+)"', path.read_text(), re.MULTILINE))
        assert not bare & headers, path


def test_there_is_something_to_hold():
    edges = {(part_of(path, PACKAGE), part) for path in python_modules() for part in imports_of(path)}
    assert {("session", "_C"), ("session", "precision"), ("cli", "session"), ("model", "ops")} <= edges
    assert len(native_sources()) > 30


@pytest.mark.parametrize(
    "folder", ["base", "kernels", "cuda", "engine", "onnxruntime", "image", "model_file", "c_api"]
)
def test_only_the_module_knows_python(folder):
    for path in (SOURCES / folder).rglob("*"):
        if path.is_file():
            assert "pybind11" not in path.read_text(), path


@pytest.mark.parametrize("part", sorted(WITHOUT_TORCH))
def test_the_runtime_half_names_no_torch(part):
    """weights may load torch to read a pickled file, and only inside a function."""
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else (PACKAGE / part).rglob("*.py")
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert not {name.split(".")[0] for name in names} & {"torch", "transformers", "timm"}, path
