"""Ray: data sets classified by a pool of actors, and a Ray Serve deployment around the batcher.

import ray
from mobilevit_fast.integrations.ray import classify_dataset, deployment

answers = classify_dataset(ray.data.read_images("photographs/"), "mobilevit_xxs.cifar10", actors=4)
ray.serve.run(deployment("mobilevit_xxs.cifar10", replicas=2))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilevit_fast.image import image_in_cell
from mobilevit_fast.integrations.cpu_sets import CpuSet
from mobilevit_fast.serve import Batcher
from mobilevit_fast.session import Session

_BATCH = 64
"""Rows that an actor is handed at a time; it runs them in smaller batches, decoding ahead."""


class Classifier:
    """What each actor of `classify_dataset` is: a session on CPUs of its own.

    Args:
        source, precision: as `Session` takes them; every node must be able to read `source`.
        threads: CPUs of the actor.
        column: the rows' images, as `load_image` takes them.
        top_k: labels an image.
    """

    def __init__(self, source: str, *, precision: str | None, threads: int, column: str, top_k: int) -> None:
        self._cpus = CpuSet(threads)
        self._session = Session(source, precision=precision, threads=threads)
        self._column, self._top_k = column, top_k

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The other columns, and label, index, score, labels, scores and error; no image is a failure."""
        images = [image_in_cell(value) for value in batch[self._column]]
        answers = list(self._session.classify_each(images, self._top_k))
        rows = [[] if isinstance(answer, Exception) else answer for answer in answers]
        errors = [str(answer) if isinstance(answer, Exception) else "" for answer in answers]
        found = {
            "label": np.array([row[0].label if row else "" for row in rows], object),
            "index": np.array([row[0].index if row else -1 for row in rows], np.int32),
            "score": np.array([row[0].score if row else np.nan for row in rows], np.float32),
            "labels": _lists([[entry.label for entry in row] for row in rows]),
            "scores": _lists([[entry.score for entry in row] for row in rows]),
            "error": np.array(errors, object),
        }
        return {name: values for name, values in batch.items() if name != self._column} | found


def classify_dataset(
    dataset: Any,
    source: str,
    *,
    actors: int = 1,
    threads: int = 1,
    precision: str | None = None,
    column: str = "image",
    top_k: int = 5,
) -> Any:
    """A Ray data set with the answers in the place of the images; evaluated when it is read.

    An actor that dies is started again and its rows are done again, so that none is lost.

    Args:
        dataset: a `ray.data.Dataset` with a column of images: encoded bytes, paths, or uint8 arrays.
        source, precision: as `Session` takes them; every node must be able to read `source`.
        actors: how many, wherever the cluster has CPUs.
        threads: CPUs that each takes for itself.
        column, top_k: see `Classifier`.
    """
    from ray.data import ActorPoolStrategy

    return dataset.map_batches(
        Classifier,
        fn_constructor_args=(source,),
        fn_constructor_kwargs={
            "precision": precision,
            "threads": threads,
            "column": column,
            "top_k": top_k,
        },
        compute=ActorPoolStrategy(size=actors),
        batch_size=_BATCH,
        num_cpus=threads,
        max_restarts=-1,
        max_task_retries=-1,
    )


def deployment(
    source: str,
    *,
    replicas: int = 1,
    threads: int = 1,
    precision: str | None = None,
    top_k: int = 5,
    **options: Any,
) -> Any:
    """An application for `ray.serve.run`: the body of a POST is an image, the answer its labels.

    Its handle has `classify.remote(image)`, which answers alike.

    Args:
        source, precision: as `Session` takes them; every node must be able to read `source`.
        replicas: processes, each with a batcher and `threads` CPUs of its own.
        top_k: labels an image.
        options: for `Batcher`, such as `target_p99_ms`.
    """
    from ray import serve

    made = serve.deployment(
        Replica, num_replicas=replicas, ray_actor_options={"num_cpus": threads}, name="mobilevit_fast"
    )
    return made.bind(source, precision, threads, top_k, options)


class Replica:
    """What each replica of `deployment` is."""

    def __init__(
        self, source: str, precision: str | None, threads: int, top_k: int, options: dict[str, Any]
    ) -> None:
        self._cpus = CpuSet(threads)
        self._batcher = Batcher(Session(source, precision=precision, threads=threads), **options)
        self._top_k = top_k

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        try:
            return await self.classify(await request.body())
        except (ValueError, TypeError) as error:
            return JSONResponse({"status": 422, "detail": str(error)}, 422)

    async def classify(self, image: Any) -> dict[str, Any]:
        """label, index and score of the best labels. Raises what `Batcher.ask` raises."""
        answer = await self._batcher.ask(image)
        predictions = answer.predictions(self._top_k)
        return {
            "predictions": [
                {"label": entry.label, "index": entry.index, "score": entry.score} for entry in predictions
            ],
            "batch_size": answer.batch_size,
        }

    def __del__(self) -> None:
        # Ray Serve calls this after the replica has answered what it had.
        if hasattr(self, "_batcher"):
            self._batcher.close()


def _lists(rows: list[list[Any]]) -> np.ndarray:
    """An array of lists, of any lengths."""
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
