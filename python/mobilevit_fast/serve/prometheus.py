"""Metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mobilevit_fast.serve.guard import Guard
from mobilevit_fast.serve.metrics import Histogram
from mobilevit_fast.serve.models import ModelSet

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "mobilevit_fast"


def render(models: ModelSet, guard: Guard) -> str:
    """All metrics of a server. Times are in seconds, as the format's conventions want."""
    snapshots = {model.spec.name: (model, model.batcher.metrics) for model in models.all()}
    lines: list[str] = []
    lines += _family(
        "requests_total",
        "counter",
        "Images by how they ended.",
        (
            ({"model": name, "outcome": outcome}, count)
            for name, (_, snapshot) in snapshots.items()
            for outcome, count in snapshot.outcomes.items()
        ),
    )
    gauges = {
        "pending_images": ("Images accepted and not answered.", lambda model, now: now.pending),
        "chosen_batch_size": ("Most images that run together now.", lambda model, now: now.chosen_batch),
        "model_version": ("Grows with each reload.", lambda model, now: model.version),
    }
    for name, (text, value) in gauges.items():
        values = (({"model": key}, value(*pair)) for key, pair in snapshots.items())
        lines += _family(name, "gauge", text, values)
    histograms = {
        "decode_seconds": ("Reading and resizing an image.", lambda now: now.decode_ms, 1e3),
        "run_seconds": ("The engine, a batch.", lambda now: now.run_ms, 1e3),
        "latency_seconds": ("From acceptance to answer.", lambda now: now.total_ms, 1e3),
        "batch_size": ("Images that ran together.", lambda now: now.batch_size, 1),
    }
    for name, (text, pick, scale) in histograms.items():
        lines += _head(name, "histogram", text)
        for key, (_, snapshot) in snapshots.items():
            lines += _histogram(name, {"model": key}, pick(snapshot), scale)
    statuses = (
        ({"method": method, "route": route, "status": str(status)}, count)
        for (method, route, status), count in sorted(guard.statuses.items())
    )
    lines += _family("http_requests_total", "counter", "Requests by route and status.", statuses)
    lines += _family("http_requests_active", "gauge", "Requests worked on.", [({}, guard.active)])
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    return [*_head(name, kind, text), *(_sample(name, labels, value) for labels, value in values)]


def _histogram(name: str, labels: dict[str, str], histogram: Histogram, scale: float) -> list[str]:
    lines, below = [], 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        limit = "+Inf" if bound == float("inf") else f"{bound / scale:g}"
        lines.append(_sample(f"{name}_bucket", labels | {"le": limit}, below))
    lines.append(_sample(f"{name}_sum", labels, histogram.total / scale))
    lines.append(_sample(f"{name}_count", labels, below))
    return lines


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {_PREFIX}_{name} {text}", f"# TYPE {_PREFIX}_{name} {kind}"]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    # repr: every digit of a counter, however large.
    return f"{_PREFIX}_{name}{{{pairs}}} {value!r}" if pairs else f"{_PREFIX}_{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
