"""The same around onnxruntime with LitServe, which collects batches itself.

python benchmarks/serving_litserve.py MODEL.onnx --threads 2 --port 9000
"""

from typing import Any

import litserve
import numpy as np

from serving_fastapi import answer, open_onnx, parse_arguments, prepare

BATCH = 8
"""Most images together; larger ones are slower an image in onnxruntime."""


class Classifier(litserve.LitAPI):
    """At the top of its module, since LitServe hands it to another process."""

    def __init__(self, path: str, threads: int) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=0.002, api_path="/classify")
        self.path, self.threads = path, threads

    def setup(self, device: str) -> None:
        self.session = open_onnx(self.path, self.threads)

    def decode_request(self, request) -> np.ndarray:
        # Without a type: LitServe would take a named one for a query parameter.
        return prepare(request["image"].file.read())

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"pixel_values": batch})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return answer(output)


if __name__ == "__main__":
    arguments = parse_arguments(__doc__)
    server = litserve.LitServer(
        Classifier(arguments.onnx, arguments.threads), accelerator="cpu", workers_per_device=1
    )
    server.run(host="127.0.0.1", port=arguments.port, log_level="warning", generate_client_file=False)
