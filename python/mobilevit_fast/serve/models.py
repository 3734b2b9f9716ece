"""The models that a server offers, each with its batcher; one can be replaced while it answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mobilevit_fast.image import ImageSource
from mobilevit_fast.serve.batcher import Batcher
from mobilevit_fast.serve.errors import ClosedError
from mobilevit_fast.serve.logs import log
from mobilevit_fast.serve.request import Answer
from mobilevit_fast.session import Session


@dataclass(frozen=True)
class ModelSpec:
    """A model to offer.

    Attributes:
        name: in addresses.
        group: models of one group are the same network at different precisions.
        open: makes its session; called again when the model is reloaded.
    """

    name: str
    group: str
    open: Callable[[], Session]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers. `version` counts from 1 and grows with each reload."""

    spec: ModelSpec
    batcher: Batcher
    version: int

    @property
    def session(self) -> Session:
        return self.batcher.session


class ModelSet:
    """Opens models and asks them.

    Args:
        specs: at least one; the first is what requests without a name get.
        options: passed to each `Batcher`.

    Raises:
        ValueError: no model, or two of one name.
        what opening a model raises.
    """

    def __init__(self, specs: Sequence[ModelSpec], options: dict[str, Any] | None = None) -> None:
        names = [spec.name for spec in specs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"each model needs a name of its own, got {', '.join(names) or 'none'}")
        self._options = dict(options or {})
        self._reloading = threading.Lock()
        self._models: dict[str, ServedModel] = {}
        try:
            for spec in specs:
                self._models[spec.name] = self._open(spec, version=1)
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def get(self, name: str | None = None) -> ServedModel:
        """The model of that name, or the first. Raises KeyError for one that is not offered."""
        return self._models[next(iter(self._models)) if name is None else name]

    def all(self) -> list[ServedModel]:
        return list(self._models.values())

    async def ask(self, model: ServedModel, image: ImageSource, **options: Any) -> Answer:
        """`Batcher.ask`; a model that is replaced just now passes the image on to the new one."""
        while True:
            try:
                return await model.batcher.ask(image, **options)
            except ClosedError:
                newer = self.get(model.spec.name)
                if newer is model:
                    raise
                model = newer

    async def reload(self, name: str) -> ServedModel:
        """Opens the model anew; when it is ready it takes over, and the old one finishes what it has.

        Where opening fails, the old one stays, and the error is raised.
        """
        return await asyncio.to_thread(self._reload, name)

    def _reload(self, name: str) -> ServedModel:
        with self._reloading:
            old = self.get(name)
            new = self._open(old.spec, old.version + 1)
            self._models[name] = new
            log("model reloaded", model=name, version=new.version)
            old.batcher.close()
            return new

    def _open(self, spec: ModelSpec, version: int) -> ServedModel:
        return ServedModel(spec, Batcher(spec.open(), **self._options), version)

    def close(self, *, drain: bool = True) -> None:
        """Ends all batchers; what they have accepted is answered, with `drain`."""
        with self._reloading:
            for model in self._models.values():
                model.batcher.close(drain=drain)
