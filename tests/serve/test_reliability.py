"""Good and bad clients together: no crash, no leak, no lost or swapped answer.

MOBILEVIT_FAST_MIXED_REQUESTS=10000 makes the run as long as one wants; the default suits a test.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mixed_load import MixedLoad
from running_server import LONG, wait_until
from server_process import server_process

from mobilevit_fast import Session
from photographs import encoded, photograph

COUNT = int(os.environ.get("MOBILEVIT_FAST_MIXED_REQUESTS", "400"))
CLIENTS = 8
MODEL = "mobilevit_xxs.cifar10"
CAT = Path(__file__).resolve().parent.parent / "data" / "cat.jpg"

_MOST_GROWTH = 24 << 20
"""Bytes: what an allocator may keep for later after a warm-up; a request that leaked its image would
take twice as much."""


def metric(server, name):
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"mobilevit_fast_{name}"))


def test_a_mixed_load_is_survived_without_a_fault(record_property):
    images = [encoded(photograph(160 + seed, 120, seed), "JPEG", quality=90) for seed in range(24)]
    images.append(CAT.read_bytes())
    answers = Session(MODEL).classify(images, top_k=1)
    expected = [(answer[0].index, answer[0].score) for answer in answers]
    with server_process("--max-body-mb", "1", "--precision", "fp32") as server:
        load = MixedLoad(server.address, images, expected, most_bytes=1 << 20)
        load.run(max(200, COUNT // 5), CLIENTS, seed=1)
        warm = server.resident_bytes
        load.run(COUNT, CLIENTS, seed=2)
        grown = server.resident_bytes - warm
        record_property("grown", grown)
        assert not load.faults
        assert server.poll() is None
        assert server.request("GET", "/v2/health/ready").status == 200
        wait_until(lambda: metric(server, "pending_images") == 0)
        wait_until(lambda: metric(server, "http_requests_active") == 1)
        assert metric(server, 'requests_total{model="mobilevit_xxs.cifar10",outcome="answered"') > COUNT // 3
        assert grown < _MOST_GROWTH, f"{grown / 1e6:.1f} MB more than after the warm-up"
        statuses = {line["status"] for line in server.log() if line["event"] == "request"}
        assert statuses <= {200, 400, 404, 413, 422, 499}
        assert all(line["level"] != "error" for line in server.log())
        server.send_signal(signal.SIGTERM)
        assert server.wait(LONG) == 0
    print(f"{sum(load.kinds.values())} requests, {grown / 1e6:+.1f} MB: {dict(load.kinds)}")
