"""Throughput and latency of the server against concurrency, beside the obvious alternatives.

    python benchmarks/serving.py --photos FOLDER --model mobilevit_s --threads 1 --concurrency 1 8 64

Every server runs alone, as a process, on the same photographs, threads and as many CPUs as it has threads;
the client is this process, on the other CPUs. The first row is `Session.classify` without any server: what is
to be had. Times depend on what else the machine does; figures to compare are those of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mobilevit_fast import Session, export
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.cli.text import table
from mobilevit_fast.image import find_images
from mobilevit_fast.serve.metrics import percentile
from mobilevit_fast.weights import save_pretrained

BOUNDARY = b"frontier"
OURS = ("ours", "ours, no batching")
PEERS = {"fastapi+onnxruntime": "serving_fastapi.py", "litserve+onnxruntime": "serving_litserve.py"}


@dataclass(frozen=True)
class Measurement:
    """One server at one concurrency.

    Attributes:
        throughput: images a second.
        p50_ms, p99_ms: from request to answer, seen by the client.
        cpu_ms: CPU time of the server an image, which a busy machine changes least.
        errors: answers other than 200.
    """

    server: str
    concurrency: int
    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    errors: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--model", default="mobilevit_s", help="variant, with random weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--servers", nargs="+", default=[*OURS, *PEERS], choices=[*OURS, *PEERS])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    images = [path.read_bytes() for path in find_images(arguments.photos)]
    results: list[Measurement] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = random_checkpoint(arguments.model)
        save_pretrained(folder / "model", checkpoint)
        cpus = sorted(os.sched_getaffinity(0))
        servers_cpus = set(cpus[: arguments.threads])
        with on_cpus(servers_cpus):
            results.append(measure_session(folder / "model", images, arguments))
        print(describe(results), flush=True)
        for server in arguments.servers:
            with (
                running(server, folder, arguments, servers_cpus) as (port, process),
                on_cpus(set(cpus) - servers_cpus),
            ):
                for concurrency in arguments.concurrency:
                    client = Client(server, port, process.pid, images)
                    client.load(concurrency, min(1.0, arguments.seconds))
                    results.append(client.load(concurrency, arguments.seconds))
                    print(describe(results[-1:]).splitlines()[-1], flush=True)
    print(describe(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2))


@contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """This thread, and what it starts meanwhile, runs on these CPUs alone; anywhere where there are none."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe(results: list[Measurement]) -> str:
    rows = [
        (
            result.server,
            str(result.concurrency),
            f"{result.throughput:.1f}",
            f"{result.p50_ms:.1f}",
            f"{result.p99_ms:.1f}",
            f"{result.cpu_ms:.1f}",
            str(result.errors),
        )
        for result in results
    ]
    return table(("server", "concurrency", "images/s", "p50 ms", "p99 ms", "CPU ms", "errors"), rows)


def measure_session(model: Path, images: list[bytes], arguments: argparse.Namespace) -> Measurement:
    session = Session(model, threads=arguments.threads)
    session.classify(images)
    times = []
    cpu = time.process_time()
    until = time.perf_counter() + arguments.seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        session.classify(images)
        times.append(time.perf_counter() - began)
    cpu_ms = (time.process_time() - cpu) * 1e3 / len(times) / len(images)
    each = statistics.median(times) / len(images)
    return Measurement("Session.classify", 1, 1 / each, each * 1e3, max(times) / len(images) * 1e3, cpu_ms, 0)


@contextmanager
def running(
    server: str, folder: Path, arguments: argparse.Namespace, cpus: set[int]
) -> Iterator[tuple[int, subprocess.Popen]]:
    """A server's port and process, while it lives on these CPUs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = ["--threads", str(arguments.threads), "--port", str(port)]
    if server in OURS:
        command = ["-m", "mobilevit_fast", "serve", f"model={folder / 'model'}", "--precision", "fp32"]
        command += ["--no-request-log", *(["--max-batch", "1"] if server == OURS[1] else [])]
    else:
        path = folder / "model.onnx"
        if not path.exists():
            export(folder / "model", "onnx", path)
        command = [str(Path(__file__).with_name(PEERS[server])), str(path)]
    with on_cpus(cpus):
        process = subprocess.Popen(
            [sys.executable, *command, *threads], stdout=subprocess.DEVNULL, start_new_session=True
        )
    try:
        wait_for(port, process)
        yield port, process
    finally:
        process.terminate()
        process.wait()
        # LitServe leaves its workers behind.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(port: int, process: subprocess.Popen) -> None:
    """Returns when something listens. Raises RuntimeError where the process ends before."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.2)
    raise RuntimeError(f"the server ended with {process.returncode}")


class Client:
    """Asks one server."""

    def __init__(self, server: str, port: int, pid: int, images: list[bytes]) -> None:
        self._server, self._port, self._pid = server, port, pid
        self._requests = [request_of(image, as_form="litserve" in server) for image in images]
        self._times: list[float] = []
        self._errors = 0

    def load(self, concurrency: int, seconds: float) -> Measurement:
        """`concurrency` connections that each send one photograph after another for so long."""
        self._times, self._errors = [], 0
        cpu, began = cpu_seconds(self._pid), time.perf_counter()
        asyncio.run(self._all(concurrency, began + seconds))
        took, used = time.perf_counter() - began, cpu_seconds(self._pid) - cpu
        ordered = sorted(1e3 * each for each in self._times)
        p50, p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
        count = len(ordered)
        return Measurement(
            self._server, concurrency, count / took, p50, p99, used * 1e3 / count, self._errors
        )

    async def _all(self, concurrency: int, until: float) -> None:
        await asyncio.gather(*(self._connection(number, until) for number in range(concurrency)))

    async def _connection(self, number: int, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while time.perf_counter() < until:
            number += 1
            began = time.perf_counter()
            writer.write(self._requests[number % len(self._requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            self._times.append(time.perf_counter() - began)
            self._errors += not head.startswith(b"http/1.1 200")
        writer.close()


def cpu_seconds(pid: int) -> float:
    """What a process and those that it started have used."""
    used: dict[int, float] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        used[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(number, 0.0) for number in family)


def request_of(image: bytes, *, as_form: bool) -> bytes:
    kind = b"image/jpeg"
    if as_form:
        # LitServe hands on files of forms; its own bodies are JSON.
        head = b'--%s\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' % BOUNDARY
        image = head + image + b"\r\n--%s--\r\n" % BOUNDARY
        kind = b"multipart/form-data; boundary=" + BOUNDARY
    return b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        kind,
        len(image),
        image,
    )


if __name__ == "__main__":
    main()
