"""`mobilevit-fast doctor`: what this machine and this installation offer."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
from importlib import metadata
from typing import Any

from mobilevit_fast import _C
from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.options import add_json
from mobilevit_fast.cli.text import facts
from mobilevit_fast.lower import PRECISIONS
from mobilevit_fast.weights import embedded_names

EPILOG = """example:
  mobilevit-fast doctor
"""

EXTRAS = {
    "torch": ("torch",),
    "transformers": ("torch", "transformers"),
    "train": ("torch", "transformers", "accelerate", "pyarrow", "matplotlib"),
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "openvino"),
    "serve": ("fastapi", "uvicorn", "httptools", "uvloop", "python_multipart"),
    "ray": ("ray",),
    "bench": ("matplotlib", "torch", "transformers", "timm", "onnx", "onnxruntime", "openvino"),
}
"""Optional extras of the package -> the modules that each brings."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    report = gather()
    print(json.dumps(report, indent=2) if arguments.json else describe(report))
    return OK


def gather() -> dict[str, Any]:
    """Everything that the command tells, as JSON can hold it."""
    modules = sorted({module for wanted in EXTRAS.values() for module in wanted})
    return {
        "version": _installed_version("mobilevit_fast"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "cpu_features": _C.cpu_features(),
        "isa_tables": {precision: _C.isa_tables(precision) for precision in (*PRECISIONS, "int8")},
        "isa": _C.best_isa(),
        "cuda": {"absent_because": _C.why_no_cuda() or None, "devices": _C.cuda_devices()},
        "isa_cap": os.environ.get("MOBILEVIT_FAST_ISA"),
        "threads": _C.default_threads(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "embedded_models": embedded_names(),
        "packages": {module: _installed_version(module) for module in modules},
        "extras": {
            extra: [module for module in wanted if importlib.util.find_spec(module) is None]
            for extra, wanted in EXTRAS.items()
        },
    }


def describe(report: dict[str, Any]) -> str:
    features = report["cpu_features"]
    cap = f" (MOBILEVIT_FAST_ISA={report['isa_cap']})" if report["isa_cap"] else ""
    entries = [
        ("mobilevit_fast", report["version"] or "not installed as a package"),
        ("Python", report["python"]),
        ("machine", report["machine"]),
        ("CPU has", ", ".join(name for name, usable in features.items() if usable) or "nothing of use here"),
        ("CPU lacks", ", ".join(name for name, usable in features.items() if not usable) or "nothing"),
        *(
            (f"{precision} kernels", ", ".join(tables) or "none: this CPU lacks what they need")
            for precision, tables in report["isa_tables"].items()
        ),
        ("table chosen", report["isa"] + cap),
        ("CUDA", _describe_cuda(report["cuda"])),
        ("threads", f"{report['threads']}, of {report['cores']} cores ({report['cores_allowed']} allowed)"),
        ("embedded models", ", ".join(report["embedded_models"]) or "none"),
    ]
    for extra, missing in report["extras"].items():
        remedy = f"lacks {', '.join(missing)}: pip install 'mobilevit_fast[{extra}]'"
        entries.append((f"extra {extra}", remedy if missing else "complete"))
    return facts(entries)


def _describe_cuda(cuda: dict[str, Any]) -> str:
    if cuda["absent_because"]:
        return f"none: {cuda['absent_because']}"
    return ", ".join(
        f"{device['name']} (compute capability {device['capability']}, {device['memory'] / 2**30:.0f} GiB)"
        for device in cuda["devices"]
    )


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
