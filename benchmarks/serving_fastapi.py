"""The server that people write around onnxruntime: FastAPI by hand.

    python benchmarks/serving_fastapi.py MODEL.onnx --threads 2 --port 9000

It prepares images by the rule of the apple/* checkpoints, with Pillow and NumPy, and answers with the best
label.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

SHORTEST_EDGE, CROP = 288, 256


def main() -> None:
    serve_fastapi(parse_arguments(__doc__))


def parse_arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


def open_onnx(path: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def prepare(body: bytes) -> np.ndarray:
    image = Image.open(BytesIO(body)).convert("RGB")
    scale = SHORTEST_EDGE / min(image.size)
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    pixels = np.asarray(image.crop((left, top, left + CROP, top + CROP)), np.float32) / 255
    return np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))


def answer(logits: np.ndarray) -> dict[str, Any]:
    scores = np.exp(logits - logits.max())
    best = int(scores.argmax())
    return {"index": best, "score": float(scores[best] / scores.sum())}


def serve_fastapi(arguments: argparse.Namespace) -> None:
    """One image a call, in the threads that FastAPI gives to blocking work."""
    import uvicorn
    from fastapi import FastAPI
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request

    session = open_onnx(arguments.onnx, arguments.threads)
    app = FastAPI()

    def classify(body: bytes) -> dict[str, Any]:
        return answer(session.run(None, {"pixel_values": prepare(body)[None]})[0][0])

    # Not an annotation to be resolved later: Request is known in this function alone.
    async def route(request):
        return await run_in_threadpool(classify, await request.body())

    route.__annotations__ = {"request": Request}
    app.post("/classify")(route)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
