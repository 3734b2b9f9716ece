"""What the optimised classes share: an engine behind their eval forward pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mobilevit_fast.model.native_forward import NativeForward

_ATTRIBUTE = "_native_forward"


class EngineModule(nn.Module):
    """Mixin before the class that it makes faster; that class stays the fallback for all that the engine
    lacks.
    """

    def use_threads(self, threads: int | None) -> None:
        """Forget engines; new ones run on that many threads, or on as many as torch uses where it is None."""
        self.__dict__[_ATTRIBUTE] = NativeForward(threads)

    def run_engine(self, outputs: tuple[str, ...], images: Any) -> list[Tensor] | None:
        """As `NativeForward.run`."""
        native = self.__dict__.get(_ATTRIBUTE)
        if native is None:
            # An instance that its class made, not optimize(): a load of the class's own, for example.
            self.use_threads(None)
            native = self.__dict__[_ATTRIBUTE]
        return native.run(self, outputs, images)

    def train(self, mode: bool = True) -> EngineModule:
        # Training loops may write through `tensor.data`, which no version counter sees.
        if mode and _ATTRIBUTE in self.__dict__:
            self.__dict__[_ATTRIBUTE].forget()
        return super().train(mode)
