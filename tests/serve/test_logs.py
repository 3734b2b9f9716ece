"""The server's log: a line of JSON for each event, and nothing secret in it."""

import json
import logging

from colour_sessions import red_png
from running_server import serving

from mobilevit_fast.serve.logs import JsonFormatter, log


def test_the_log_is_json(caplog):
    with caplog.at_level(logging.INFO, "mobilevit_fast.serve"), serving(log_requests=True) as running:
        reply = running.post("/classify?model=colours", red_png(20), {"Authorization": "Bearer hidden"})
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    [line] = [line for line in lines if line["event"] == "request"]
    assert line["id"] == reply.headers["X-Request-Id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/classify", 200)
    assert "hidden" not in json.dumps(lines)
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        caplog.clear()
        log("failed", error=error)
    assert "broken" in json.loads(JsonFormatter().format(caplog.records[0]))["exception"]
