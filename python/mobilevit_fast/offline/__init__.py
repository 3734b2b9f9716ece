"""Many images into one file of answers; an interrupted run is taken up where it stopped."""

from mobilevit_fast.offline.job import Summary, classify_to_file
from mobilevit_fast.offline.sources import ImageList, open_images

__all__ = ["ImageList", "Summary", "classify_to_file", "open_images"]
