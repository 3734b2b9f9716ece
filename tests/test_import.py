"""The runtime half imports neither torch nor anything slow; the names of the package are where it says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import mobilevit_fast
from checkpoints import random_checkpoint
from mobilevit_fast.weights import save_checkpoint

TORCH_HALF = {"torch", "transformers", "timm"}
SLOW = {"rich", "huggingface_hub", "importlib.metadata", "asyncio", "requests", "safetensors"}


def loaded_modules(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_the_package_imports_no_torch():
    loaded = loaded_modules(
        "import mobilevit_fast as mvf; mvf.Session; mvf.list_models(); mvf.load_checkpoint"
    )
    assert "mobilevit_fast._C" in loaded
    assert not loaded & TORCH_HALF


def test_importing_the_package_imports_none_of_its_modules():
    assert not {
        name for name in loaded_modules("import mobilevit_fast") if name.startswith("mobilevit_fast.")
    }


def test_classify_imports_nothing_slow(tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", random_checkpoint())
    Image.new("RGB", (300, 300), "red").save(tmp_path / "photo.png")
    arguments = ["classify", str(tmp_path / "photo.png"), "--model", str(tmp_path / "model.safetensors")]
    loaded = loaded_modules(f"from mobilevit_fast.cli import main; assert main({arguments!r}) == 0")
    assert "mobilevit_fast.session" in loaded
    assert not loaded & (TORCH_HALF | SLOW)


def test_every_public_name_is_there():
    for name in mobilevit_fast._HOME_OF:
        # A package of the same name, such as `export`, may have been imported before, and stands in for it.
        assert getattr(mobilevit_fast, name).__name__.rpartition(".")[2] == name
        assert callable(getattr(mobilevit_fast, name))
        assert name in dir(mobilevit_fast)


def test_type_checkers_see_the_same_names():
    stub = ast.parse(Path(mobilevit_fast.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: node.module.removeprefix("mobilevit_fast.") for node in imports for alias in node.names
    }
    assert seen == mobilevit_fast._HOME_OF


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mobilevit_fast.nonsense


def test_a_name_of_the_torch_half_says_how_to_get_torch():
    code = "\n".join(
        (
            "import sys",
            "sys.modules['torch'] = None",
            "import mobilevit_fast",
            "try:",
            "    mobilevit_fast.create_model",
            "except ImportError as error:",
            "    assert \"create_model needs torch: pip install 'mobilevit_fast[torch]'\" in str(error)",
            "else:",
            "    raise SystemExit('no error')",
        )
    )
    assert "mobilevit_fast" in loaded_modules(code)


def test_every_command_explains_itself_without_torch():
    code = "\n".join(
        (
            "import sys",
            "sys.modules['torch'] = None",
            "from mobilevit_fast.cli import entry",
            "for name in entry.COMMANDS:",
            "    try:",
            "        entry.main([name, '--help'])",
            "    except SystemExit as done:",
            "        assert done.code == 0, name",
            "    else:",
            "        raise SystemExit(name)",
        )
    )
    assert "mobilevit_fast.cli.export" in loaded_modules(code)
