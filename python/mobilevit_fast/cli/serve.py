"""`mobilevit-fast serve`: models over HTTP."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import mobilevit_fast
from mobilevit_fast import _C
from mobilevit_fast.cli.exits import OK, warn
from mobilevit_fast.cli.options import DEFAULT_MODEL, add_json, positive
from mobilevit_fast.lower import PRECISIONS
from mobilevit_fast.precision import own_precision
from mobilevit_fast.session import Session
from mobilevit_fast.weights import Checkpoint, load_runnable

TOKEN_VARIABLE = "MOBILEVIT_FAST_TOKEN"

EPILOG = f"""examples:
  mobilevit-fast serve
  mobilevit-fast serve apple/mobilevit-small --port 8080 --target-p99-ms 100
  mobilevit-fast serve cifar=mobilevit_xxs.cifar10 cifar=small.safetensors

  curl --data-binary @cat.jpg http://127.0.0.1:8000/classify

The page is at /, the API's description at /docs. Sources of one name are one model at several precisions.
Clients must send a bearer token if the variable {TOKEN_VARIABLE} or --token-file holds one. SIGTERM ends
the server after what it has accepted is answered; SIGHUP reloads its models without losing a request.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "models",
        nargs="*",
        default=[DEFAULT_MODEL],
        metavar="[NAME=]MODEL",
        help=f"embedded model, hub id, folder or file, float or quantised; default: {DEFAULT_MODEL}",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, for this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one; default: 8000")
    _add_engine(parser)
    batching = parser.add_argument_group("batching")
    batching.add_argument(
        "--target-p99-ms", type=float, metavar="MS", help="latency to keep; default: the most throughput"
    )
    batching.add_argument(
        "--max-batch", type=positive, default=32, metavar="N", help="images run together; default: 32"
    )
    batching.add_argument(
        "--max-delay-ms",
        type=float,
        default=2.0,
        metavar="MS",
        help="wait for images that are being decoded; default: 2",
    )
    batching.add_argument(
        "--queue", type=positive, default=256, metavar="N", help="images waiting for a model; default: 256"
    )
    _add_limits(parser)
    add_json(parser)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument("--threads", type=positive, metavar="N", help="default: all cores of this process")
    group.add_argument("--isa", metavar="NAME", help="kernel table, such as avx2; default: the fastest")
    group.add_argument(
        "--precision",
        nargs="+",
        metavar="NAME",
        help="fp32, bf16 or fp16, for float models; default: what the CPU has. Quantised ones have their own",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument("--max-body-mb", type=positive, default=16, metavar="N", help="default: 16")
    group.add_argument(
        "--max-pixels", type=positive, default=40_000_000, metavar="N", help="of an image; default: 40000000"
    )
    group.add_argument(
        "--max-requests", type=positive, default=256, metavar="N", help="at a time; default: 256"
    )
    group.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="seconds to answer in; default: 30"
    )
    group.add_argument(
        "--body-timeout", type=float, default=30.0, metavar="S", help="seconds to send in; default: 30"
    )
    group.add_argument("--token-file", type=Path, metavar="FILE", help="holds the bearer token")
    group.add_argument("--no-request-log", action="store_true", help="no log line for each request")


def run(arguments: argparse.Namespace) -> int:
    try:
        from mobilevit_fast.serve.app import create_app
        from mobilevit_fast.serve.logs import start_logging
        from mobilevit_fast.serve.models import ModelSet, ModelSpec
        from mobilevit_fast.serve.runner import announce, make_server
        from mobilevit_fast.serve.settings import ServerSettings
    except ModuleNotFoundError as error:
        raise ImportError(f"serve needs {error.name}: pip install 'mobilevit_fast[serve]'") from error
    settings = ServerSettings(
        host=arguments.host,
        port=arguments.port,
        token=_token(arguments.token_file),
        max_body_bytes=arguments.max_body_mb << 20,
        max_pixels=arguments.max_pixels,
        max_requests=arguments.max_requests,
        body_timeout_s=arguments.body_timeout,
        request_timeout_s=arguments.timeout,
        log_requests=not arguments.no_request_log,
    )
    start_logging()
    if settings.token is None and not settings.is_local:
        warn(f"anyone who reaches {settings.host} may use this server; set {TOKEN_VARIABLE} for a token")
    options = {
        "max_batch": arguments.max_batch,
        "max_delay_ms": arguments.max_delay_ms,
        "queue": arguments.queue,
        "target_p99_ms": arguments.target_p99_ms,
        "max_pixels": arguments.max_pixels,
    }
    engine = {"threads": arguments.threads, "isa": arguments.isa}
    variants = find_variants(arguments.models, arguments.precision)
    models = ModelSet(
        [
            ModelSpec(name, group, partial(Session, source, precision=precision, **engine))
            for name, group, source, precision in variants
        ],
        options,
    )
    try:
        server = make_server(create_app(models, settings, mobilevit_fast.__version__), models, settings)
        listener = server.bind()
        print(announce(server, models, arguments.json), flush=True)
        server.run(sockets=[listener])
    finally:
        models.close(drain=False)
    return OK


def find_variants(
    sources: Sequence[str], precisions: Sequence[str] | None
) -> list[tuple[str, str, str, str | None]]:
    """(name, group, source, precision) of each model to offer; precision None for a source's own.

    The first of a group is called as the group, the others have the precision behind that name.

    Raises ValueError for two models of one group at one precision, and what reading a source raises.
    """
    floats = precisions or [precision for precision in PRECISIONS if _C.isa_tables(precision)]
    variants: list[tuple[str, str, str, str | None]] = []
    seen: set[tuple[str, str]] = set()
    for text in sources:
        given, separator, rest = text.partition("=")
        group, source = (given, rest) if separator else (_plain_name(text), text)
        if not re.fullmatch(r"[\w.-]+", group):
            raise ValueError(f"a model's name may have letters, digits, '.', '_' and '-', got {group!r}")
        checkpoint = load_runnable(source)
        own = "" if isinstance(checkpoint, Checkpoint) else own_precision(checkpoint)
        for precision in floats if isinstance(checkpoint, Checkpoint) else [None]:
            key = precision or own
            if (group, key) in seen:
                raise ValueError(
                    f"two models would be {group!r} at {key}; give one another name: NAME={source}"
                )
            name = f"{group}-{key}" if any(group == other for other, _ in seen) else group
            seen.add((group, key))
            variants.append((name, group, source, precision))
    return variants


def _plain_name(source: str) -> str:
    name = re.sub(r"[^\w.-]", "-", os.path.basename(os.path.normpath(source)))
    return name.removesuffix(".safetensors").removesuffix(".bin").removesuffix(".pt")


def _token(file: Path | None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{str(file)!r} holds no token: it is not text, but one line of it is") from None
    return os.environ.get(TOKEN_VARIABLE)
