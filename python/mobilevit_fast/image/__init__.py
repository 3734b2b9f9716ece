"""From an image file, PIL image or array to the float tensor that a checkpoint was trained on."""

from mobilevit_fast.image.cell import image_in_cell
from mobilevit_fast.image.decode import MAX_PIXELS, ImageSource, image_list, load_image
from mobilevit_fast.image.folder import find_images
from mobilevit_fast.image.pixels import preprocess, preprocess_one, to_planes
from mobilevit_fast.image.preprocessing import MAX_EDGE, Preprocessing

__all__ = [
    "MAX_EDGE",
    "MAX_PIXELS",
    "ImageSource",
    "Preprocessing",
    "find_images",
    "image_in_cell",
    "image_list",
    "load_image",
    "preprocess",
    "preprocess_one",
    "to_planes",
]
