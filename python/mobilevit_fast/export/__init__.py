"""Exporters: one model out to every runtime, checked by running it there.

The package shares its name with its function: `mobilevit_fast.export(...)` is the function, and the module
answers calls too, for whoever imported it first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from mobilevit_fast.export.driver import VerificationError, export
from mobilevit_fast.export.formats import FORMATS
from mobilevit_fast.export.verification import Report

__all__ = ["FORMATS", "Report", "VerificationError", "export"]


class _CallableModule(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Report:
        return export(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
