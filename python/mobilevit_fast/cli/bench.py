"""`mobilevit-fast bench`: this engine beside the peers that are installed, or its own time step by step."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilevit_fast import _C
from mobilevit_fast.benchmark.comparison import OURS, Result, Workload, compare, peer_precision, pin
from mobilevit_fast.benchmark.interleave import Pace
from mobilevit_fast.benchmark.peers import PEERS, Peer
from mobilevit_fast.benchmark.roofline import draw_roofline, measure_bandwidth
from mobilevit_fast.benchmark.subject import load_subject
from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.options import add_engine, add_json, add_size, positive
from mobilevit_fast.cli.progress import show_progress
from mobilevit_fast.cli.text import table
from mobilevit_fast.config import MODELS
from mobilevit_fast.json_text import to_json
from mobilevit_fast.pictures import check_picture
from mobilevit_fast.precision import kernels_for
from mobilevit_fast.session import Session, StepProfile

EPILOG = """examples:
  mobilevit-fast bench mobilevit_s --batch 1 8 --threads 1 2
  mobilevit-fast bench mobilevit_s --precision int8
  mobilevit-fast bench small.safetensors --peers
  mobilevit-fast bench mobilevit_s --profile --threads 1 --roofline steps.svg
  mobilevit-fast bench flowers/ flowers/int8.safetensors --formats all --data test.parquet --plot formats.svg

Times are medians, in milliseconds an image; in brackets, how many times ours. Weights are random and the same
for all, unless ours are quantised; contenders take turns in one process, with as many threads each.
"""

SIZE = (256, 256)
ROUNDS = 5
BATCHES = (1, 8)

_UNUSED = {
    "formats": ("isa", "precision", "peers", "batch", "size", "profile", "pin"),
    "profile": ("peers", "batch", "rounds"),
}
"""Mode -> the options of others."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"among {', '.join(MODELS)}, or an embedded model, hub id, folder or file; default: mobilevit_s",
    )
    parser.add_argument("--batch", type=positive, nargs="+", metavar="N", help="batch sizes; default: 1 8")
    names = ", ".join(peer.name for peer in PEERS)
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help=f"among {names}; without a name none; default: those installed but torch.compile",
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="turns each; default: 5")
    parser.add_argument(
        "--pin", action="store_true", help="keep the process on as many cores as it has threads"
    )
    parser.add_argument("--profile", action="store_true", help="time each step of ours instead, on one image")
    parser.add_argument(
        "--roofline",
        type=Path,
        metavar="FILE",
        help="with --profile of one model: draw the steps under the machine's limits (.png or .svg)",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        metavar="NAME",
        help="export a model, and what quantisation made of it, to these formats, or to all, and compare "
        "what comes out, on one thread",
    )
    parser.add_argument("--data", type=Path, metavar="DATA", help="with --formats: measure accuracy on it")
    parser.add_argument("--limit", type=positive, metavar="N", help="with --data: use so many images")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --formats: a picture (.png or .svg)")
    add_size(parser, default="256")
    add_json(parser)
    add_engine(parser, several_threads=True)


def run(arguments: argparse.Namespace) -> int:
    models = arguments.models or ["mobilevit_s"]
    if arguments.roofline and not arguments.profile:
        raise ValueError("--roofline draws a profile; add --profile")
    for mode, names in _UNUSED.items():
        for name in names if getattr(arguments, mode) else ():
            if getattr(arguments, name) not in (None, False):
                raise ValueError(f"--{name} is not for --{mode}")
    if arguments.formats:
        return _survey(models, arguments)
    for name in ("data", "limit", "plot"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} is for --formats")
    if arguments.pin:
        if arguments.threads is None:
            raise ValueError("--pin needs --threads")
        pin(max(arguments.threads))
    return _profile(models, arguments) if arguments.profile else _compare(models, arguments)


def _survey(models: list[str], arguments: argparse.Namespace) -> int:
    if len(arguments.threads or [1]) > 1:
        raise ValueError("--formats takes one number of threads")
    # Not at the top: torch takes seconds to import, and no other part of this command needs it.
    from mobilevit_fast.cli.format_survey import run_survey

    run_survey(
        models,
        arguments.formats,
        threads=(arguments.threads or [1])[0],
        rounds=arguments.rounds or ROUNDS,
        data=arguments.data,
        limit=arguments.limit,
        as_json=arguments.json,
        picture=arguments.plot,
    )
    return OK


def choose_peers(names: list[str] | None, precision: str = "fp32") -> list[Peer]:
    """The peers called so, or the installed ones that run by default, at that precision.

    Raises ValueError for a name that is unknown, lacks that precision or whose modules are not installed.
    """
    if names is None:
        return [
            peer
            for peer in PEERS
            if peer.by_default and precision in peer.precisions and not peer.missing(precision)
        ]
    known = {peer.name: peer for peer in PEERS}
    for name in names:
        if name not in known:
            raise ValueError(f"unknown peer {name!r}; choose among {', '.join(known)}")
        if precision not in known[name].precisions:
            raise ValueError(f"peer {name!r} runs {', '.join(known[name].precisions)} here, not {precision}")
        missing = known[name].missing(precision)
        if missing:
            raise ValueError(f"peer {name!r} needs {', '.join(missing)}, not installed here")
    return [known[name] for name in names]


def _compare(models: list[str], arguments: argparse.Namespace) -> int:
    peers = choose_peers(arguments.peers, peer_precision(arguments.precision))
    workloads = [
        Workload(model, batch, threads, arguments.size or SIZE)
        for model, threads, batch in itertools.product(
            models, _threads(arguments), arguments.batch or BATCHES
        )
    ]
    results = compare(
        workloads,
        peers,
        precision=arguments.precision,
        isa=arguments.isa,
        pace=Pace(rounds=arguments.rounds or ROUNDS),
    )
    results = list(show_progress(results, len(workloads), "Measuring", patience=0))
    if arguments.json:
        print(to_json([asdict(result) for result in results]))
    else:
        print(describe(results))
    return OK


def describe(results: list[Result]) -> str:
    """A row for each workload, a column for each contender."""
    peers = list(results[0].ratios)
    rows = []
    for result in results:
        workload, ours = result.workload, result.ms[OURS]
        times = [f"{result.ms[peer]:.2f} ({result.ratios[peer]:.2f})" for peer in peers]
        labels = [workload.model, f"{workload.batch}", f"{workload.threads}"]
        rows.append([*labels, f"{ours:.2f}", f"{1e3 / ours:.1f}", *times])
    header = [
        "model",
        "batch",
        "threads",
        f"ours {results[0].isa} {results[0].precision}",
        "images/s",
        *peers,
    ]
    largest = max((value for result in results for value in result.differences.values()), default=None)
    note = "" if largest is None else f"\nlargest difference of logits, relative: {largest:.1e}"
    return table(header, rows) + note


def _profile(models: list[str], arguments: argparse.Namespace) -> int:
    threads_given = _threads(arguments)
    if arguments.roofline and len(models) * len(threads_given) > 1:
        raise ValueError("--roofline draws one model with one --threads; name one of each")
    if arguments.roofline:
        check_picture(arguments.roofline)
    reports = []
    for model, threads in itertools.product(models, threads_given):
        session = Session(
            load_subject(model, arguments.precision),
            precision=arguments.precision,
            threads=threads,
            isa=arguments.isa,
        )
        steps = session.profile(size=arguments.size or SIZE)
        reports.append((session, steps, _peak(session)))
    if arguments.json:
        print(to_json([_profile_data(*report) for report in reports]))
    else:
        print("\n\n".join(describe_profile(*report) for report in reports))
    if arguments.roofline:
        session, steps, peak = reports[0]
        title = f"{session.config.name}, {session.isa}, threads: {session.threads}"
        draw_roofline(steps, peak, measure_bandwidth() * session.threads, title, arguments.roofline)
    return OK


def _peak(session: Session) -> float:
    """Multiply-accumulates a second of all the session's threads at best."""
    return _C.measure_peak(session.isa, kernels_for(session.precision)) * session.threads


def describe_profile(session: Session, steps: list[StepProfile], peak: float) -> str:
    """A row for each step; `peak` is in multiply-accumulates a second of all threads together."""
    total = sum(step.ms for step in steps)
    rows = [
        [
            *(
                step.name,
                step.kind,
                "x".join(map(str, step.output)),
                f"{step.ms:.3f}",
                f"{step.ms / total:.1%}",
            ),
            *(f"{step.macs / step.ms / 1e6:.1f}", f"{step.bytes / 1e3:.0f}"),
            f"{step.macs / step.ms * 1e3 / peak:.0%}",
        ]
        for step in steps
    ]
    macs = sum(step.macs for step in steps)
    rate, share = f"{macs / total / 1e6:.1f}", f"{macs / total * 1e3 / peak:.0%}"
    rows.append(["all", "", "", f"{total:.3f}", "100.0%", rate, "", share])
    header = ["layer", "kind", "output", "ms", "of all", "GMAC/s", "kB", "of peak"]
    title = f"{session.source}: {session.isa}, {session.precision}, threads: {session.threads}"
    measured = (
        f"peak {peak / 1e9:.0f} GMAC/s, measured; Winograd convolutions do with fewer and can exceed it"
    )
    return f"{title}\n{measured}\n{table(header, rows, left=2)}"


def _threads(arguments: argparse.Namespace) -> list[int]:
    return arguments.threads or [_C.default_threads()]


def _profile_data(session: Session, steps: list[StepProfile], peak: float) -> dict[str, Any]:
    return {
        "model": session.config.name,
        "isa": session.isa,
        "precision": session.precision,
        "threads": session.threads,
        "peak_macs_per_second": peak,
        "steps": [asdict(step) for step in steps],
    }
