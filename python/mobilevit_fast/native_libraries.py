"""Where the libraries lie that other runtimes load."""

from __future__ import annotations

from mobilevit_fast import _C


def onnxruntime_library() -> str:
    """Path of the library with which onnxruntime runs nodes of domain `mobilevit_fast` on our kernels.

        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(mobilevit_fast.onnxruntime_library())
        session = onnxruntime.InferenceSession("model.onnx", options)

    `export(..., "onnx", ..., keep_custom_ops=True)` makes files of such nodes. A node runs on the session's
    threads. Its work is divided for as many as this process may use, or for as many as the session's entry
    "mobilevit_fast.threads" says, which has to be set before: `options.add_session_config_entry(...)`.

    Raises:
        FileNotFoundError: this package was built without it.
    """
    if not _C.has_onnxruntime_operations:
        raise FileNotFoundError(
            "this installation has no operations for onnxruntime: it was built with MVF_ONNXRUNTIME=OFF"
        )
    return _C.__file__
