"""The native module: the engine and its kernels on NumPy arrays. The interpreter is free while they run."""

from collections.abc import Callable
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Int8Weight = NDArray[np.int8]
Ints = NDArray[np.int32]

max_threads: Final[int]
has_onnxruntime_operations: Final[bool]

def release_free_memory() -> None:
    """Gives what was freed and the C library keeps back to the system; with glibc, others keep little."""

def isa_tables(precision: str = "fp32") -> list[str]:
    """Names of the kernel tables of that precision ("fp32", "bf16", "fp16", "int8") that run here, slowest
    first.

    The environment variable MOBILEVIT_FAST_ISA names the last one that may.

    Raises:
        ValueError: that variable is no table's name.
    """

def best_isa() -> str:
    """Name of the kernel table that runs where none is named: the last of `isa_tables()`."""

def cpu_features() -> dict[str, bool]:
    """Whether the CPU and its operating system offer each feature that a kernel table may need."""

def default_threads() -> int:
    """Cores in this process's affinity mask, at most its control group's CPU quota, at least 1."""

def measure_peak(isa: str | None = None, precision: str = "fp32") -> float:
    """Multiply-accumulates a second of one thread at best, on a matrix product that fits its caches.

    Takes half a second. Raises ValueError as `Engine` does.
    """

class CudaDevice(TypedDict):
    """`capability` as "9.0"; `memory` in bytes."""

    name: str
    capability: str
    multiprocessors: int
    memory: int

def why_no_cuda() -> str:
    """Why no CUDA device can be used: no kernels in this build, no driver, no device. Empty where one can."""

def cuda_devices() -> list[CudaDevice]:
    """The devices, by number; none where `why_no_cuda` gives a reason."""

def fingerprint(dicts: list[dict], objects: list, readers: tuple) -> bytes:
    """Identities of all the dicts' values, in order, and then what the readers give of each object.

    Readers are functions of one object or descriptors of attributes, and give integers of 0 to 2^64 - 1.
    Raises TypeError for anything else, and what a reader raises.
    """

def has_fingerprint(fingerprint: bytes, dicts: list[dict], objects: list, readers: tuple) -> bool:
    """Whether `fingerprint` of the rest gives this. Raises what that raises, before the first difference."""

def any_true(dicts: list[dict], key: str) -> bool:
    """Whether a dict's value of `key` is true. Raises KeyError where one has none, TypeError for no dict."""

def prefetch(addresses: np.ndarray) -> None:
    """Asks the CPU to fetch the cache lines at these addresses (uintp), which need not be valid."""

class StepProfile(TypedDict):
    """`ms` is a median; `macs` counts the operation as defined; `bytes` is weights, inputs and outputs."""

    name: str
    kind: str
    ms: float
    macs: int
    bytes: int

class Memory(TypedDict):
    """Bytes. `arena` holds one image's activations, `scratch` is one thread's, `unshared` is what the
    activations would take each in memory of its own."""

    weights: int
    arena: int
    scratch: int
    unshared: int

class Shapes(TypedDict):
    """`tensors`: (channels, height, width) of each of the plan's. `outputs`: shapes without the batch."""

    tensors: list[tuple[int, int, int]]
    outputs: list[tuple[int, ...]]

class Engine:
    """A plan with its weights packed for one ISA, ready to run.

    `plan` is what `mobilevit_fast.lower.lower` and `lower_quantized` make, csrc/engine/plan.h field by field:

        {"tensors": [{"channels": int, "type": str}, ...],
         "steps": [{"kind": str, "name": str, "input": int, "output": int, ...}, ...],
         "outputs": [int, ...],
         "image_channels": 3}

    csrc/python/plan_dict.h and int8_plan_dict.h list the keys of each kind of step. Arrays are copied; the
    plan is not needed afterwards.

    One engine may be used from several threads at once: a call that finds its threads busy runs on its
    caller's alone. A batch gives each thread whole images; what is left over, and a single image, is divided
    among all.

    Args:
        plan: the network.
        isa: name of a kernel table, None for the best.
        threads: how many threads one call may use, the caller among them; None for `default_threads()`.
        precision: "fp32"; "bf16": activations and weights in bfloat16, sums in float; "fp16": both in
            half precision; "int8" for a plan with
            steps on bytes: a kernel table that has kernels for them, its float steps in float32.

    Raises:
        TypeError, ValueError: a plan that cannot run, with the step and the key; an unknown `isa` or one that
            this CPU lacks; `threads` outside 1 to `max_threads`.
        MemoryError: not enough memory for the weights.
    """

    isa: Final[str]
    threads: Final[int]

    def __init__(
        self,
        plan: dict[str, Any],
        isa: str | None = None,
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None: ...
    def run(self, x: Array) -> list[Array]:
        """Runs a batch.

        Args:
            x: float32 [N, C, H, W], any strides; N may be 0.

        Returns:
            for each output of the plan a new array: [N, channels] for a vector, [N, channels, height, width]
            for a map.

        Raises:
            TypeError: not a float32 array.
            ValueError: another shape, no pixels, or a size that the plan cannot take.
            MemoryError: a size that needs more memory than there is.
        """

    def profile(self, x: Array, repeats: int = 20) -> list[StepProfile]:
        """Times every step on one image [1, C, H, W], on all of the engine's threads."""

    def memory(self, height: int, width: int) -> Memory:
        """Memory for images of that size."""

    def shapes(self, height: int, width: int) -> Shapes:
        """Shapes for images of that size."""

class CudaError(RuntimeError):
    """What the CUDA runtime refused. Only in builds with CUDA kernels."""

class ImagePreparer:
    """The rule of a checkpoint's images: resize and crop as Pillow 13 does it, to the byte, order and scale.

    One may be used from several threads at once.

    Args:
        rule: what `Preprocessing.to_dict` gives.

    Raises:
        TypeError, ValueError: another rule.
    """

    def __init__(self, rule: dict[str, Any]) -> None: ...
    def run(self, image: Bytes | Any, height: int, width: int, out: Array | None = None) -> Array:
        """float32 [3, h, w] of one image.

        Args:
            image: uint8 [height, width, 3], pixels side by side; or the capsule "arrow_array" that an RGB
                image of Pillow gives, whose pixels are read where they lie.
            out: float32 [3, h, w], contiguous, to write into and return.

        Raises:
            TypeError, ValueError: another image, edges beyond 2^24 pixels, an `out` that does not fit.
        """

class CudaPreparer:
    """The rule of a checkpoint's images, applied on a CUDA device, bit for bit as `image.preprocess` does.

    Only in builds with CUDA kernels. One may be used from several threads and on several streams at once.

    Args:
        rule: what `Preprocessing.to_dict` gives.
        device: its number.

    Raises:
        TypeError, ValueError: another rule; no device, or not so many.
    """

    def __init__(self, rule: dict[str, Any], device: int = 0) -> None: ...
    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image of that size gets.

        Raises:
            ValueError: it is too large, or would be when resized.
        """

    def prepare(self, images: list[Any], planes: Any, stream: int) -> None:
        """Enqueues a batch on a stream, and waits for what is enqueued there so far.

        Args:
            images: uint8 [H, W, 3], any sizes and strides: NumPy arrays, and whatever of this device has
                __cuda_array_interface__.
            planes: float32 [N, 3, height, width] of this device, dense, to fill.
            stream: as for `CudaEngine.run_on_device`; not one that is being recorded.

        Raises:
            TypeError, ValueError: arrays of another type, shape, layout or device; no image; images that get
                different sizes.
        """

    def run(self, engine: CudaEngine, images: list[Bytes]) -> list[Array]:
        """What `engine.run` answers to NumPy images, prepared. The engine must be on the same device."""

class CudaEngine:
    """A plan on a CUDA device, ready to run. Only in builds with CUDA kernels.

    One engine may be used from several threads and on several streams at once; a run waits, on the device,
    for the one before it.

    Args:
        plan: as for `Engine`; linear layers must not quantise dynamically.
        precision: of activations and weights: "fp16", "bf16" or "fp32", sums being float; "tf32": floats, in
            products rounded to TF32; or "int8" for plans with steps on bytes, whose answers are those of
            `Engine` with isa="scalar", bit for bit.
        device: its number.

    Raises:
        TypeError, ValueError: as `Engine`; no device, or not so many.
        MemoryError, CudaError: what the device lacks or refuses.
    """

    device: Final[int]
    precision: Final[str]

    def __init__(self, plan: dict[str, Any], precision: str = "fp16", device: int = 0) -> None: ...
    def run(self, x: Array) -> list[Array]:
        """As `Engine.run`: arrays of the host. The first run of a batch size takes longer."""

    def run_on_device(self, x: Any, outputs: list[Any], stream: int) -> None:
        """Enqueues a batch on a stream.

        Args:
            x: float32 [N, C, H, W] on this device, any strides: whatever has __cuda_array_interface__.
            outputs: for each output of the plan an array to fill, dense, shaped as what `run` answers with.
            stream: a live cudaStream_t as an integer, such as `torch.cuda.current_stream().cuda_stream`.

        Raises:
            TypeError, ValueError: arrays of another type, shape, layout or device.
        """

    def profile(self, x: Array, repeats: int = 20) -> list[StepProfile]:
        """Times every step on the images of x, which are the host's; macs and bytes are those of all."""

    def memory(self, height: int, width: int) -> Memory:
        """Memory for one image of that size; a batch takes the arena as often."""

    def shapes(self, height: int, width: int) -> Shapes:
        """Shapes for images of that size."""

class _Options(TypedDict, total=False):
    """`out`: an array of the result's shape to write, apart from the inputs in memory, or None for a new one.
    `isa` and `threads` are as for `Engine`; all calls share the process's threads."""

    out: Array | None
    isa: str | None
    threads: int | None

class _BytesOptions(TypedDict, total=False):
    """`_Options` with a result of bytes."""

    out: Bytes | None
    isa: str | None
    threads: int | None

class ops:
    """Single operations, each on the kernel that an engine would run: on float32 arrays, or on bytes.

    Maps are [N, H, W, C] and rows [..., C]: channels next to one another in memory, all other strides free.
    Weights are packed on every call. All raise TypeError for what is no array of the right type, ValueError
    for shapes and settings, MemoryError.

    The operations on bytes, `int8_*`, take uint8 arrays with one scale and zero point each, real = scale *
    (q - zero point), and int8 weights with a scale for each output channel. A layer's sum, bias +
    sum((q - zero) * weight), exact in 32 bits, becomes table[clamp(round(fma(sum, multiplier, offset)), 0,
    255)], without the table where it is None: multiplier is input_scale * weight_scale / output_scale, offset
    the output's zero point. Results are the same with every `isa`.
    """

    @staticmethod
    def linear(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        residual: Array | None = None,
        silu: bool = False,
        normalize: bool = False,
        epsilon: float = 1e-5,
        **options: Unpack[_Options],
    ) -> Array:
        """silu(x @ weight.T + bias) + residual, the activation where asked for; [..., in] -> [..., out].

        weight is [out, in]. With `normalize`, rows of x are first brought to mean 0 and variance 1 (plus
        `epsilon`). `out` may be `residual`.
        """

    @staticmethod
    def ffn(
        stream: Array,
        up_weight: Array,
        up_bias: Array | None,
        down_weight: Array,
        down_bias: Array | None,
        epsilon: float = 1e-5,
        **options: Unpack[_Options],
    ) -> Array:
        """stream + down(silu(up(normalize(stream)))), [..., dim] -> the same shape.

        up_weight is [hidden, dim], down_weight [dim, hidden]. `out` may be `stream`.
        """

    @staticmethod
    def conv3x3(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: int = 1,
        silu: bool = False,
        second: Array | None = None,
        algorithm: str = "direct",
        **options: Unpack[_Options],
    ) -> Array:
        """3x3 convolution, zero padding 1: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), out].

        weight is [out, 3, 3, C + C2]; `second`, [N, H, W, C2], holds the last C2 input channels. `stride` is
        1 or 2, `algorithm` "direct", "winograd2" or "winograd4" (stride 1 only).
        """

    @staticmethod
    def stem(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: int = 2,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> Array:
        """The same on images [N, C, H, W] of any strides; the result is a map [N, H', W', out]."""

    @staticmethod
    def dwconv3x3(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: int = 1,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> Array:
        """Depthwise 3x3 convolution, zero padding 1; weight is [3, 3, C]."""

    @staticmethod
    def inverted_residual(
        x: Array,
        expand_weight: Array,
        expand_bias: Array | None,
        depthwise_weight: Array,
        depthwise_bias: Array | None,
        project_weight: Array,
        project_bias: Array | None,
        stride: int = 1,
        residual: bool = False,
        **options: Unpack[_Options],
    ) -> Array:
        """Expansion, SiLU, depthwise 3x3, SiLU, projection, plus x where `residual` (stride 1, out = C).

        Weights are [expanded, C], [3, 3, expanded] and [out, expanded].
        """

    @staticmethod
    def attention(
        qkv: Array,
        heads: int,
        patch: tuple[int, int] = (2, 2),
        **options: Unpack[_Options],
    ) -> Array:
        """Self-attention among the pixels of equal position in their patch.

        qkv is [N, H, W, 3 * dim]: q of all heads, then k, then v; the result is [N, H, W, dim]. `patch`
        (height, width) divides the map.
        """

    @staticmethod
    def attention_backward(
        qkv: Array,
        upstream: Array,
        heads: int,
        patch: tuple[int, int] = (2, 2),
        **options: Unpack[_Options],
    ) -> Array:
        """The gradient for `attention`'s qkv [N, H, W, 3 * dim], from that for its output [N, H, W, dim]."""

    @staticmethod
    def weight_gradient(x: Array, upstream: Array, **options: Unpack[_Options]) -> Array:
        """The gradient [M, K] of a linear's weight, from x [rows, K] and its output's gradient [rows, M]."""

    @staticmethod
    def batch_norm(
        x: Array,
        weight: Array,
        bias: Array,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """x [rows, C] by its own statistics, then SiLU where asked for; the mean and the variance, [C]."""

    @staticmethod
    def batch_norm_backward(
        x: Array,
        upstream: Array,
        weight: Array,
        bias: Array,
        mean: Array,
        variance: Array,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """The gradients for `batch_norm`'s x, weight and bias, from that for its output."""

    @staticmethod
    def layer_norm_backward(
        x: Array,
        upstream: Array,
        gamma: Array,
        epsilon: float = 1e-5,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """The gradients for `layer_norm`'s x [rows, C], gamma and beta, from that for its output."""

    @staticmethod
    def conv3x3_weight_gradient(
        x: Array,
        upstream: Array,
        stride: int = 1,
        **options: Unpack[_Options],
    ) -> Array:
        """The gradient [M, 3, 3, C] of `conv3x3`'s weight, from its x [N, H, W, C] and the gradient [N, H',
        W', M] for its output.
        """

    # A norm is [4, C]: weight, bias, mean and variance of a batch norm by the batch's own statistics. The
    # gradients of a norm are [2, C]: its weight's and its bias's. All arrays here are dense, or copied first.

    @staticmethod
    def norm_linear(
        x: Array,
        weight: Array,
        norm: Array | None = None,
        *,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """x [rows, K], normalised and, with `silu`, activated where `norm` is given, times weight [M, K]; the
        product's mean and variance, [M].
        """

    @staticmethod
    def norm_linear_backward(
        upstream: Array,
        y: Array,
        x: Array,
        weight: Array,
        y_norm: Array | None,
        y_gradients: Array | None,
        norm: Array | None = None,
        residual: Array | None = None,
        *,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """From the gradient [rows, M] behind the norm of `norm_linear`'s output y: the gradient [rows, K]
        behind x's own norm (plus `residual`, of that before its activation), the weight's [M, K], and those
        of the norms of x and of y, which are summed up first where `y_gradients` is None. Without `y_norm`,
        upstream is the gradient for y.
        """

    @staticmethod
    def norm_depthwise(
        x: Array,
        weight: Array,
        norm: Array,
        stride: int = 1,
        *,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """As `norm_linear`, for a depthwise 3x3 convolution of x [N, H, W, C] by weight [3, 3, C]."""

    @staticmethod
    def norm_depthwise_backward(
        upstream: Array,
        y: Array,
        x: Array,
        weight: Array,
        y_norm: Array | None,
        y_gradients: Array | None,
        norm: Array,
        stride: int = 1,
        *,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> tuple[Array, Array, Array]:
        """As `norm_linear_backward`, for `norm_depthwise`, with the gradients of x's norm only."""

    @staticmethod
    def normalize(
        y: Array,
        norm: Array,
        residual: Array | None = None,
        *,
        epsilon: float = 1e-5,
        silu: bool = False,
        **options: Unpack[_Options],
    ) -> Array:
        """y [rows, C] normalised and, with `silu`, activated; plus `residual`."""

    @staticmethod
    def layer_norm(
        x: Array,
        gamma: Array,
        beta: Array,
        epsilon: float = 1e-5,
        **options: Unpack[_Options],
    ) -> Array:
        """Rows [..., C] brought to mean 0 and variance 1 (plus `epsilon`), times gamma [C], plus beta [C]."""

    @staticmethod
    def resize(
        x: Array,
        height: int,
        width: int,
        **options: Unpack[_Options],
    ) -> Array:
        """Bilinear, half-pixel centres: [N, H, W, C] -> [N, height, width, C]."""

    @staticmethod
    def global_pool(
        x: Array,
        **options: Unpack[_Options],
    ) -> Array:
        """Mean over the pixels: [N, H, W, C] -> [N, C]."""

    @staticmethod
    def softmax(
        x: Array,
        **options: Unpack[_Options],
    ) -> Array:
        """Softmax over the last dimension."""

    @staticmethod
    def int8_linear(
        x: Bytes | Array,
        weight: Int8Weight,
        bias: Ints | None,
        multiplier: Array,
        offset: Array | None = None,
        table: Bytes | None = None,
        residual: Array | None = None,
        input_zero: int = 0,
        input_scale: float | None = None,
        silu: bool = False,
        normalize: bool = False,
        epsilon: float = 1e-5,
        float_output: bool = False,
        sums: bool = False,
        *,
        out: Bytes | Array | Ints | None = None,
        isa: str | None = None,
        threads: int | None = None,
    ) -> Bytes | Array | Ints:
        """Rows [..., in], weight [out, in] -> bytes [..., out].

        Float rows are quantised first, after normalising them where asked for as in `linear`: with
        `input_scale` and `input_zero`, or each by its own range, zero included. With `float_output` the
        result is silu(sum * multiplier + offset) + residual; rows of their own range bring their scale into
        the multiplier. `out` may then be `residual`. With `sums` the result is the int32 sums.
        """

    @staticmethod
    def int8_conv3x3(
        x: Bytes,
        weight: Int8Weight,
        bias: Ints | None,
        multiplier: Array,
        offset: Array | None = None,
        table: Bytes | None = None,
        stride: int = 1,
        input_zero: int = 0,
        second: Bytes | None = None,
        second_zero: int = 0,
        **options: Unpack[_BytesOptions],
    ) -> Bytes:
        """3x3 convolution, padded by 1 with the zero points: [N, H, W, C] -> [N, H', W', out].

        weight is [out, 3, 3, C + C2]; `second`, [N, H, W, C2], holds the last C2 input channels, of the same
        scale or with the scales' ratio in their weights.
        """

    @staticmethod
    def int8_dwconv3x3(
        x: Bytes,
        weight: Int8Weight,
        bias: Ints | None,
        multiplier: Array,
        offset: Array | None = None,
        table: Bytes | None = None,
        stride: int = 1,
        input_zero: int = 0,
        **options: Unpack[_BytesOptions],
    ) -> Bytes:
        """Depthwise 3x3 convolution, padded by 1 with the zero point; weight is [3, 3, C]."""

    @staticmethod
    def int8_inverted_residual(
        x: Bytes,
        expand_weight: Int8Weight,
        expand_bias: Ints | None,
        expand_multiplier: Array,
        expand_offset: Array | None,
        expand_table: Bytes | None,
        depthwise_weight: Int8Weight,
        depthwise_bias: Ints | None,
        depthwise_multiplier: Array,
        depthwise_offset: Array | None,
        depthwise_table: Bytes | None,
        project_weight: Int8Weight,
        project_bias: Ints | None,
        project_multiplier: Array,
        project_offset: Array | None = None,
        stride: int = 1,
        residual_multiplier: float | None = None,
        input_zero: int = 0,
        expanded_zero: int = 0,
        depthwise_zero: int = 0,
        **options: Unpack[_BytesOptions],
    ) -> Bytes:
        """Expansion, depthwise 3x3 and projection; weights [expanded, C], [3, 3, expanded], [out, expanded].

        With `residual_multiplier` (stride 1, out = C) the last layer's value is
        fma(x, residual_multiplier, fma(sum, multiplier, offset)).
        """

    @staticmethod
    def int8_attention(
        qkv: Bytes,
        heads: int,
        score_scale: float,
        output_multiplier: float,
        output_zero: int,
        patch: tuple[int, int] = (2, 2),
        **options: Unpack[_BytesOptions],
    ) -> Bytes:
        """`attention` on bytes around 128: qkv [N, H, W, 3 * dim] -> [N, H, W, dim].

        softmax(score_scale * (q - 128) (k - 128)^T) (v - 128) * output_multiplier + output_zero, its weights
        in 8 bits. Up to 65536 tokens and channels of a head.
        """

class _DeviceOptions(TypedDict):
    """`out`: the array to fill, dense, of the result's shape, at a multiple of two elements and apart from
    the inputs in memory; `device`: its number and that of all arrays; `cuda_stream`: a live cudaStream_t as
    an integer, in whose order the operation runs."""

    out: Any
    device: int
    cuda_stream: int

class _PackedOnDevice(_DeviceOptions):
    """`workspace(bytes)` gives a uint8 array of the device at a multiple of 64 bytes, for weights, which
    every call packs."""

    workspace: Callable[[int], Any]

class cuda_ops:
    """Single operations on a CUDA device, only in builds with CUDA kernels: on whatever has
    __cuda_array_interface__, all of one type, float16, bfloat16 or float32, dense, channels last.

    All raise TypeError for what is no such array, ValueError for shapes, settings and devices, CudaError for
    what the device refuses. For what each computes see `ops`.
    """

    max_head_dim: Final[int]
    """Of `attention`."""
    max_inverted_residual_input: Final[int]
    """Channels."""

    @staticmethod
    def linear(
        x: Any,
        weight: Any,
        bias: Any | None,
        residual: Any | None,
        silu: bool,
        **options: Unpack[_PackedOnDevice],
    ) -> None:
        """[rows, in] -> [rows, out]; weight is [out, in]."""

    @staticmethod
    def conv3x3(
        x: Any, weight: Any, bias: Any | None, stride: int, silu: bool, **options: Unpack[_PackedOnDevice]
    ) -> None:
        """[N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), out]; weight is [out, 3, 3, C]."""

    @staticmethod
    def inverted_residual(
        x: Any,
        expand_weight: Any,
        expand_bias: Any,
        depthwise_weight: Any,
        depthwise_bias: Any,
        project_weight: Any,
        project_bias: Any,
        stride: int,
        residual: bool,
        **options: Unpack[_PackedOnDevice],
    ) -> None:
        """Weights are [expanded, C], [3, 3, expanded] and [out, expanded]."""

    @staticmethod
    def attention(qkv: Any, heads: int, patch: tuple[int, int], **options: Unpack[_DeviceOptions]) -> None:
        """[N, H, W, 3 * dim] -> [N, H, W, dim]."""
