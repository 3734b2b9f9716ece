"""Exporters: one model out to every runtime, checked by running it there.

The package shares its name with its function: `mobilevit_fast.export(...)` is the function, and the module
answers calls too, for whoever imported it first. Only what exports imports torch, when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mobilevit_fast.export.formats import FORMATS

if TYPE_CHECKING:
    from mobilevit_fast.export.driver import VerificationError, export
    from mobilevit_fast.export.verification import Report

__all__ = ["FORMATS", "Report", "VerificationError", "export"]


_HOMES = {"VerificationError": "driver", "export": "driver", "Report": "verification"}


class _CallableModule(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Report:
        return self.export(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(f"{name} needs torch: pip install 'mobilevit_fast[torch]'") from error
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _CallableModule
