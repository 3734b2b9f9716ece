"""`mobilevit-fast doctor`: what this machine and this installation offer."""

from __future__ import annotations

import argparse
import os
import platform
import re
from importlib import metadata
from typing import Any

from mobilevit_fast import _C
from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.options import add_json
from mobilevit_fast.cli.text import facts
from mobilevit_fast.json_text import to_json
from mobilevit_fast.lower import PRECISIONS
from mobilevit_fast.weights import embedded_names

EPILOG = """example:
  mobilevit-fast doctor
"""

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*;\s*extra\s*==\s*['\"](?P<extra>[\w.-]+)['\"]")
"""An entry of the package's metadata that belongs to an extra, as in `onnx<2,>=1.23; extra == "onnx"`."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    report = gather()
    print(to_json(report) if arguments.json else describe(report))
    return OK


def gather() -> dict[str, Any]:
    """Everything that the command tells, as JSON can hold it."""
    extras = _extras()
    packages = sorted({package for wanted in extras.values() for package in wanted})
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
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "embedded_models": embedded_names(),
        "packages": {package: _installed_version(package) for package in packages},
        "extras": {
            extra: [package for package in wanted if _installed_version(package) is None]
            for extra, wanted in extras.items()
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


def _extras() -> dict[str, list[str]]:
    """Optional extras of this package -> the packages that each brings; none where it is not installed."""
    try:
        requirements = metadata.requires("mobilevit_fast") or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, list[str]] = {}
    for requirement in filter(None, map(_REQUIREMENT.match, requirements)):
        extras.setdefault(requirement["extra"], []).append(requirement["name"])
    return extras


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
