"""Runs one model in one runtime on the emulated processor, the second time between the marks that
count_blocks.c counts from and to.

    guest.py RUNTIME FILE SIZE PRECISION [OUTPUT]

RUNTIME is one of `RUNTIMES`; PRECISION is for ours alone, "own" for the file's; OUTPUT, for ours, the last of
the plan's outputs to compute. Prints the sum of the answer's magnitudes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]

START, STOP = 0x5150, 0x5151


def mark(number: int) -> None:
    """A system call that does nothing, which the emulator's plug-in waits for."""
    try:
        os.getpgid(number)
    except ProcessLookupError:
        return
    raise RuntimeError(f"there is a process {number}; run it again")


def ours(path: str, precision: str, output: str | None) -> Run:
    from mobilevit_fast import _C, Session
    from mobilevit_fast.lower import lower
    from mobilevit_fast.lower_quantized import lower_quantized
    from mobilevit_fast.weights import QuantizedCheckpoint, load_classifier

    if output is None:
        return Session(path, threads=1, precision=None if precision == "own" else precision).run
    source = load_classifier(path)
    if isinstance(source, QuantizedCheckpoint):
        plan, precision = lower_quantized(source, outputs=(output,)), "int8"
    else:
        plan = lower(source.config, source.tensors, precision=precision, outputs=(output,))
    engine = _C.Engine(plan, threads=1, precision=precision)
    return lambda images: engine.run(images)[0]


def onnxruntime(path: str, *_: str | None) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def litert(path: str, *_: str | None) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return run


def ncnn(path: str, *_: str | None) -> Run:
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_vulkan_compute = False
    network.opt.use_fp16_storage = network.opt.use_fp16_packed = network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = False
    if network.load_param(path) or network.load_model(path.removesuffix("param") + "bin"):
        raise ValueError(f"ncnn cannot load {path}")
    first, last = network.input_names()[0], network.output_names()[0]

    def run(images: np.ndarray) -> np.ndarray:
        extractor = network.create_extractor()
        extractor.input(first, ncnn.Mat(images[0]))
        status, answer = extractor.extract(last)
        if status:
            raise RuntimeError(f"ncnn ended with status {status}")
        return np.array(answer)

    return run


RUNTIMES = {"mobilevit_fast": ours, "onnxruntime": onnxruntime, "litert": litert, "ncnn": ncnn}


def main() -> None:
    runtime, path, size, precision, *output = sys.argv[1:]
    run = RUNTIMES[runtime](path, precision, output[0] if output else None)
    images = np.linspace(0, 1, 3 * int(size) ** 2, dtype=np.float32).reshape(1, 3, int(size), int(size))
    run(images.copy())
    mark(START)
    answer = run(images)
    mark(STOP)
    print(f"{np.abs(answer).sum():.6g}")


if __name__ == "__main__":
    main()
