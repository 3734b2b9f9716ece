"""Session: a checkpoint made ready to run. Images or tensors in, labels or logits out, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilevit_fast import _C, cuda
from mobilevit_fast.arguments import check_count
from mobilevit_fast.config import ModelConfig
from mobilevit_fast.cuda_images import DeviceImages
from mobilevit_fast.decode_ahead import DECODING_THREADS, load_ahead
from mobilevit_fast.image import ImageSource, Preprocessing, image_list, preprocess, preprocess_one
from mobilevit_fast.precision import (
    Runnable,
    choose_device_precision,
    choose_precision,
    kernels_for,
    lower_to_plan,
)
from mobilevit_fast.predictions import Prediction, rank
from mobilevit_fast.weights import load_runnable


@dataclass(frozen=True)
class Memory:
    """Bytes that a session holds.

    Attributes:
        weights: packed weights, shared by all threads and batches.
        arena: all activations of one image. A batch needs one for each thread, however many its images.
        scratch: a thread's working memory inside a step.
        unshared: what the activations would take if none gave its memory to a later one.
    """

    weights: int
    arena: int
    scratch: int
    unshared: int


@dataclass(frozen=True)
class StepProfile:
    """One step on one image.

    Attributes:
        name: of the layer.
        kind: of the step, such as "linear".
        output: (height, width, channels) of what it writes.
        ms: median time.
        macs: multiply-accumulates of the layer as defined, whatever algorithm computes it.
        bytes: of weights, inputs and outputs, each counted once.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    ms: float
    macs: int
    bytes: int


class Session:
    """A classifier that runs on the native engine.

        session = Session("mobilevit_xxs.cifar10")
        [[best, *others]] = session.classify("cat.jpg")
        logits = session.run(pixel_values)

    Weights are read, folded and packed once, here. A session may be used from several threads at once.

    Args:
        source: what `load_checkpoint` takes (the name of an embedded model, a hub id, a folder, a file), or a
            `Checkpoint`; or the file of a quantised model or of an export in format native, or what such a
            file holds.
        precision: what the engine computes in: "fp32"; "bf16" where the CPU multiplies bfloat16 (activations
            and weights rounded to it, sums in float); or "fp16" where it multiplies halves, as 64-bit ARM
            does from version 8.2 on (logits within 1e-2 of fp32's; an activation beyond 65504 becomes
            infinite, and the logits with it). None for "fp32", or for what a quantised
            model was made for: it computes as its layers say, and takes another precision only where all of
            them compute in float. An export in format native has the one that it was made for. On a CUDA
            device "fp16" (then None stands for it), "bf16", "tf32" (floats in memory, rounded to TF32 for
            products; logits within 5e-3 of fp32's) or "fp32", and quantised models as on the CPU,
            but for those that quantise dynamically.
        threads: how many threads one `run` may use; None for as many as this process has cores.
        isa: name of the kernel table to run, such as "avx2"; None for the fastest that this CPU has.
        device: "cpu", "cuda" or "cuda:N". With the last two, threads and isa must be None, and `run` takes
            torch tensors on that device, too; `classify` and `run_images` upload images as bytes and prepare
            them there, bit for bit as the CPU does.
        channel_order: "RGB" or "BGR", the order of the channels that `run` is given; None for the
            checkpoint's own. Another order than that is folded into the first layer's weights.

    Raises:
        ValueError: a source, precision, thread count, ISA, device or channel order that is unknown, or that
            this machine lacks.
        FileNotFoundError: the source does not exist.
        TypeError: an argument of the wrong type.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Runnable,
        *,
        precision: str | None = None,
        threads: int | None = None,
        isa: str | None = None,
        device: str = "cpu",
        channel_order: str | None = None,
    ) -> None:
        number = cuda.device_number(device)
        checkpoint = source if isinstance(source, Runnable) else load_runnable(source)
        self._made_of: tuple[Any, ...] | None = None
        if not isinstance(source, Runnable):
            lasting = os.path.abspath(source) if os.path.exists(source) else source
            self._made_of = (lasting, precision, threads, isa, device, channel_order)
        self._checkpoint_order = checkpoint.preprocessing.channel_order
        self._preprocessing = _reorder(checkpoint.preprocessing, channel_order)
        if number is None:
            self._precision = choose_precision(checkpoint, precision)
            plan = lower_to_plan(checkpoint, self._precision, self.is_channel_order_folded)
            kernels = kernels_for(self._precision)
            with _naming(checkpoint.source):
                self._engine = _C.Engine(plan, isa=isa, threads=threads, precision=kernels)
        else:
            self._precision = choose_device_precision(checkpoint, precision, threads, isa)
            plan = lower_to_plan(checkpoint, "fp32", self.is_channel_order_folded)
            with _naming(checkpoint.source):
                self._engine = cuda.DeviceEngine(plan, kernels_for(self._precision), number)
        on_device = isinstance(self._engine, cuda.DeviceEngine)
        self._device_images = DeviceImages(self._engine, self._preprocessing) if on_device else None
        self._step_outputs = [step["output"] for step in plan["steps"]]
        self._config = checkpoint.config
        self._labels = checkpoint.labels
        self._source = checkpoint.source

    def run(self, pixel_values: np.ndarray) -> np.ndarray:
        """Logits of preprocessed images.

        Args:
            pixel_values: float32 [N, 3, H, W], any strides, channels in the order of `preprocessing`. H and W
                are free, at least 1; N may be 0. On a CUDA device a torch tensor there will do, too; the
                answer then is one.

        Returns:
            float32 [N, number of classes].

        Raises:
            TypeError: not a float32 array.
            ValueError: another shape.
            MemoryError: an image too large for this machine.
        """
        return self._engine.run(pixel_values)[0]

    def run_images(self, images: ImageSource | Sequence[ImageSource]) -> np.ndarray:
        """Logits of images as they are, all in one batch, prepared by `preprocessing`.

        Args:
            images: as for `classify`.

        Returns:
            float32 [N, number of classes]; a torch tensor on the device where one of the images is one.

        Raises:
            ValueError, TypeError, FileNotFoundError: an image that cannot be read, no image, or different
                sizes where the preprocessing does not crop.
        """
        sources = image_list(images)
        if self._device_images is None:
            return self.run(preprocess(sources, self._preprocessing))
        return self._device_images.run([self._device_images.load(source) for source in sources])

    def classify(
        self, images: ImageSource | Sequence[ImageSource], top_k: int = 5, batch_size: int = 8
    ) -> list[list[Prediction]]:
        """The most probable labels of images, decoded and preprocessed by the checkpoint's own rule.

        Args:
            images: one image or a list of them: paths, encoded bytes, binary files, PIL images, or uint8
                arrays [H, W, 3] in RGB order; or an array [N, H, W, 3] of them. On a CUDA device also torch
                tensors there, like arrays.
            top_k: how many labels an image; at most the number of classes are given.
            batch_size: how many images run together; the next ones are decoded meanwhile.

        Returns:
            for each image its predictions, the most probable first.

        Raises:
            ValueError, TypeError, FileNotFoundError: the first image that cannot be read, named; or an
                argument that is out of range.
            FloatingPointError: the model's logits are not finite.
        """
        answers = []
        for answer in self.classify_each(images, top_k, batch_size):
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers

    def classify_each(
        self, images: ImageSource | Sequence[ImageSource], top_k: int = 5, batch_size: int = 8
    ) -> Iterator[list[Prediction] | Exception]:
        """`classify` as a stream: yields each image's predictions in order, or a bad one's error."""
        check_count("top_k", top_k)
        check_count("batch_size", batch_size)
        return self._answers(image_list(images), top_k, batch_size)

    def _answers(
        self, images: list[ImageSource], top_k: int, batch_size: int
    ) -> Iterator[list[Prediction] | Exception]:
        workers = min(DECODING_THREADS, self.threads)
        size = 1 if self._preprocessing.crop_size is None else batch_size
        for batch in load_ahead(images, self._load, size, workers):
            good = [image for image in batch if not isinstance(image, Exception)]
            logits = iter(self._run_loaded(good) if good else ())
            for image in batch:
                yield image if isinstance(image, Exception) else self._rank(next(logits), top_k)

    def _rank(self, logits: np.ndarray, top_k: int) -> list[Prediction] | Exception:
        try:
            return rank(logits, self._labels, top_k)
        except FloatingPointError as error:
            return FloatingPointError(f"{self._source}: {error}")

    def _load(self, image: ImageSource) -> Any:
        if self._device_images is not None:
            return self._device_images.load(image)
        return preprocess_one(image, self._preprocessing)

    def _run_loaded(self, images: list[Any]) -> np.ndarray:
        if self._device_images is None:
            return self.run(np.stack(images))
        logits = self._device_images.run(images)
        return logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()

    def profile(self, repeats: int = 20, size: tuple[int, int] | None = None) -> list[StepProfile]:
        """Times each step on one image of `size` (height, width), by default `input_size`.

        A resize to the size that a map has already is no step.

        Args:
            repeats: how often the image runs; times are medians.

        Raises:
            ValueError: `repeats` or a size below 1.
            TypeError: a size that is not two numbers.
        """
        if size is not None and (not isinstance(size, tuple | list) or len(size) != 2):
            raise TypeError(f"size must be (height, width), got {size!r}")
        edges = zip(("height", "width"), size or self.input_size, strict=True)
        height, width = (check_count(name, edge) for name, edge in edges)
        image = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
        tensors = self._engine.shapes(height, width)["tensors"]
        outputs = [(*size, channels) for channels, *size in (tensors[index] for index in self._step_outputs)]
        steps = zip(outputs, self._engine.profile(image, repeats), strict=True)
        return [StepProfile(output=output, **step) for output, step in steps if step["bytes"]]

    def memory_for(self, height: int, width: int) -> Memory:
        """What the session holds to run images of that size. Raises ValueError for a size below 1."""
        return Memory(**self._engine.memory(height, width))

    @property
    def memory(self) -> Memory:
        """What the session holds to run images of `input_size`."""
        return self.memory_for(*self.input_size)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images that `preprocessing` gives, or that the model was designed for."""
        return self._preprocessing.crop_size or (self._config.image_size, self._config.image_size)

    @property
    def source(self) -> str:
        """What the checkpoint was read from."""
        return self._source

    @property
    def config(self) -> ModelConfig:
        """The variant that the checkpoint holds."""
        return self._config

    @property
    def labels(self) -> tuple[str, ...]:
        """One name a class."""
        return self._labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How `classify` prepares images, and how those given to `run` must have been."""
        return self._preprocessing

    @property
    def is_channel_order_folded(self) -> bool:
        """Whether the stem's weights were turned round for another channel order than the checkpoint's."""
        return self._preprocessing.channel_order != self._checkpoint_order

    @property
    def precision(self) -> str:
        """What it computes in: "fp32", "bf16", "fp16", "int8", or "mixed" where some compute on bytes."""
        return self._precision

    @property
    def isa(self) -> str:
        """Name of the kernel table that runs, or "cuda" and the device's compute capability."""
        return self._engine.isa

    @property
    def threads(self) -> int:
        """How many threads one `run` may use."""
        return self._engine.threads

    def __reduce__(self) -> tuple[Any, ...]:
        # Kernels are chosen and weights packed anew, perhaps on another machine.
        if self._made_of is None:
            raise TypeError(
                "a Session of a checkpoint in memory cannot be pickled; "
                "make it from a file, or one in each process"
            )
        return _restored, self._made_of

    def __repr__(self) -> str:
        settings = f"precision={self._precision!r}, threads={self.threads}, isa={self.isa!r}"
        return f"Session({self._source!r}, {settings})"


def _restored(
    source: str | os.PathLike[str],
    precision: str | None,
    threads: int | None,
    isa: str | None,
    device: str,
    channel_order: str | None,
) -> Session:
    return Session(
        source, precision=precision, threads=threads, isa=isa, device=device, channel_order=channel_order
    )


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """What is wrong with a plan names the file that has it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not str(error).startswith("plan["):
            raise
        raise ValueError(f"{source!r}: {error}") from error


def _reorder(preprocessing: Preprocessing, channel_order: str | None) -> Preprocessing:
    """The same rule, its channels in `channel_order`."""
    if channel_order in (None, preprocessing.channel_order):
        return preprocessing
    mean, std = (
        None if values is None else values[::-1] for values in (preprocessing.mean, preprocessing.std)
    )
    return replace(preprocessing, channel_order=channel_order, mean=mean, std=std)
