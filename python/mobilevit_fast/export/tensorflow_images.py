"""Preprocessing in TensorFlow: strings that are files of images to what the network takes, by the rule.

Numbers differ from `preprocess` by a level of 255 here and there, for resized pixels are rounded from other
sums. A JPEG's orientation tag is not read.
"""

from __future__ import annotations

import tensorflow as tf

from mobilevit_fast.image import Preprocessing


def decode_images(files: tf.Tensor, rule: Preprocessing) -> tf.Tensor:
    """Strings [N], JPEG or PNG, to uint8 RGB [N, 3, H, W] of the rule's crop."""
    size = rule.crop_size or rule.exact_size
    spec = tf.TensorSpec([3, *size], tf.uint8)
    return tf.map_fn(lambda file: _prepare(file, rule), files, fn_output_signature=spec)


def normalise(pixels: tf.Tensor, rule: Preprocessing) -> tf.Tensor:
    """uint8 RGB [N, 3, H, W] to float32 in the order and range of the network."""
    ordered = pixels[:, ::-1] if rule.channel_order == "BGR" else pixels
    scaled = tf.cast(ordered, tf.float32) * rule.rescale
    if rule.mean is None or rule.std is None:
        return scaled
    mean, std = (tf.reshape(tf.constant(values, tf.float32), [3, 1, 1]) for values in (rule.mean, rule.std))
    return (scaled - mean) / std


def _prepare(file: tf.Tensor, rule: Preprocessing) -> tf.Tensor:
    image = tf.cond(
        tf.io.is_jpeg(file),
        # The exact transform, which Pillow uses too.
        lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(file, channels=3),
    )
    return tf.transpose(_crop(_resize(image, rule), rule), (2, 0, 1))


def _resize(image: tf.Tensor, rule: Preprocessing) -> tf.Tensor:
    given = tf.shape(image)[:2]
    size = tf.constant(rule.exact_size) if rule.exact_size else given
    if rule.shortest_edge is not None:
        edge = rule.shortest_edge
        longest = edge * tf.reduce_max(given) // tf.reduce_min(given)
        size = tf.where(given <= tf.reduce_min(given), edge, longest)
    resized = tf.image.resize(image, size, rule.resample, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _crop(image: tf.Tensor, rule: Preprocessing) -> tf.Tensor:
    """The middle of the image, with black around it where it is smaller."""
    if rule.crop_size is None:
        return tf.ensure_shape(image, [*rule.exact_size, 3])
    given, crop = tf.shape(image)[:2], tf.constant(rule.crop_size)
    start = (given - crop) // 2
    if rule.crop_rounding == "even":
        inside = tf.cast(tf.round(tf.cast(given - crop, tf.float32) / 2), tf.int32)
        start = tf.where(given >= crop, inside, -((crop - given) // 2))
    before = tf.maximum(-start, 0)
    after = tf.maximum(start + crop - given, 0)
    padded = tf.pad(image, tf.concat([tf.stack([before, after], axis=1), [[0, 0]]], axis=0))
    corner = [*tf.unstack(tf.maximum(start, 0)), 0]
    return tf.ensure_shape(tf.slice(padded, corner, [*rule.crop_size, 3]), [*rule.crop_size, 3])
