"""pyarrow, or how to get it."""

from __future__ import annotations

from typing import Any


def import_parquet() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises ImportError that says how to add them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ImportError("parquet files need pyarrow: pip install pyarrow") from error
    return pyarrow, parquet
