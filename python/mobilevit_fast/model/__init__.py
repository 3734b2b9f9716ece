"""The torch half's models: create, load, train, save."""

from mobilevit_fast.model.mobilevit import MobileViT
from mobilevit_fast.model.optimize import optimize
from mobilevit_fast.model.pretrained import create_model, from_checkpoint, from_pretrained

__all__ = ["MobileViT", "create_model", "from_checkpoint", "from_pretrained", "optimize"]
