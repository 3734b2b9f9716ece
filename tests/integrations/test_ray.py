"""Ray on two local nodes: every answer there and equal to a local run, also when a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import numpy as np
import pytest

from mobilevit_fast import Session
from photographs import encoded, photograph

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its dependencies and of sockets that it leaves
]

MODEL = "mobilevit_xxs.cifar10"
COUNT = int(os.environ.get("MOBILEVIT_FAST_RAY_IMAGES", "5000"))
DIFFERENT = 100


def agent_ports():
    """Chosen here, since a node gives up when its agent takes too long to choose, as on a busy machine."""
    names = (
        "metrics_agent_port",
        "metrics_export_port",
        "dashboard_agent_listen_port",
        "runtime_env_agent_port",
    )
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in names]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in probes]
    return dict(zip(names, ports, strict=True))


@pytest.fixture(scope="module")
def cluster():
    """Two raylets on this machine, one CPU each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1} | agent_ports())
    nodes.add_node(num_cpus=1, **agent_ports())
    ray.init(address=nodes.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def images():
    """Different photographs, one of them bad, repeated in an order of no period."""
    pictures = [encoded(photograph(40, 36, seed), "JPEG") for seed in range(DIFFERENT)]
    pictures[7] = b"no image"
    return pictures


def workers(ray):
    """(process id, node) of the living actors."""
    actors = [actor for actor in ray._private.state.actors().values() if actor["State"] == "ALIVE"]
    mapping = [actor for actor in actors if "MapWorker" in actor["ActorClassName"]]
    return [(actor["Pid"], actor["Address"]["NodeID"]) for actor in mapping]


def test_a_data_set_over_two_nodes_survives_the_death_of_a_worker(cluster, images):
    from mobilevit_fast.integrations.ray import classify_dataset

    chosen = np.random.default_rng(0).integers(0, DIFFERENT, COUNT)
    rows = [{"row": row, "image": images[number]} for row, number in enumerate(chosen.tolist())]
    dataset = cluster.data.from_items(rows, override_num_blocks=50)
    answers = classify_dataset(dataset, MODEL, actors=2, top_k=2)
    found, killed, nodes = {}, None, set()
    for row in answers.iter_rows():
        assert row["row"] not in found
        found[row["row"]] = row
        if killed is None and len(found) > COUNT // 5:
            alive = workers(cluster)
            nodes = {node for _, node in alive}
            killed = alive[0][0]
            os.kill(killed, signal.SIGKILL)
    assert killed is not None
    assert len(nodes) == 2
    expected = list(Session(MODEL, threads=1).classify_each(images, top_k=2))
    assert sorted(found) == list(range(COUNT))
    for row, number in enumerate(chosen.tolist()):
        answer, wanted = found[row], expected[number]
        if isinstance(wanted, Exception):
            assert "not an image" in answer["error"]
            assert answer["label"] == ""
            continue
        assert answer["error"] == ""
        assert (answer["label"], answer["index"]) == (wanted[0].label, wanted[0].index)
        assert list(answer["labels"]) == [entry.label for entry in wanted]
        np.testing.assert_allclose(answer["scores"], [entry.score for entry in wanted], rtol=1e-4)


def test_a_deployment_answers_over_http_and_by_handle(cluster, images):
    from ray import serve

    from mobilevit_fast.integrations.ray import deployment

    [[wanted]] = Session(MODEL).classify([images[0]], top_k=1)
    handle = serve.run(deployment(MODEL, top_k=1, max_batch=4))
    try:
        answers = [handle.classify.remote(images[0]) for _ in range(20)]
        for answer in answers:
            [best] = answer.result(timeout_s=120)["predictions"]
            assert best["label"] == wanted.label
            assert best["score"] == pytest.approx(wanted.score, rel=1e-4)
        request = urllib.request.Request("http://127.0.0.1:8000/", images[0], method="POST")
        until = time.monotonic() + 60
        while True:
            try:
                reply = json.load(urllib.request.urlopen(request, timeout=60))
                break
            except ConnectionError:
                assert time.monotonic() < until
                time.sleep(0.5)
        assert reply["predictions"][0]["index"] == wanted.index
        bad = urllib.request.Request("http://127.0.0.1:8000/", b"no image", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(bad, timeout=60)
    finally:
        serve.shutdown()
