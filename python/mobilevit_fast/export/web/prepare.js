// The checkpoint's own preprocessing: resize, centre crop, order of channels, scale.
import { resize } from "./resize.js";

// The resize keeps the aspect where the rule names a shortest edge.
function resizedSize(rule, width, height) {
  if (rule.exact_size) return { width: rule.exact_size[1], height: rule.exact_size[0] };
  if (!rule.shortest_edge) return { width, height };
  const longest = Math.trunc((rule.shortest_edge * Math.max(height, width)) / Math.min(height, width));
  return width <= height
    ? { width: rule.shortest_edge, height: longest }
    : { width: longest, height: rule.shortest_edge };
}

function roundHalfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

// Where the crop begins; negative where the image is padded.
function cropOffset(rule, size, crop) {
  if (rule.crop_rounding === "down") return Math.floor((size - crop) / 2);
  return size >= crop ? roundHalfToEven((size - crop) / 2) : -Math.floor((crop - size) / 2);
}

// {data, width, height} of RGBA bytes -> [1, 3, H, W], row by row: bytes in the order RGB where the model takes
// them raw, else floats as the rule makes them.
export function prepare(image, rule, isRaw) {
  const { width, height } = resizedSize(rule, image.width, image.height);
  const resized =
    width === image.width && height === image.height ? image : resize(image, width, height, rule.resample);
  const [rows, columns] = rule.crop_size ?? [height, width];
  const top = cropOffset(rule, height, rows);
  const left = cropOffset(rule, width, columns);
  const plane = rows * columns;
  const pixels = new (isRaw ? Uint8Array : Float32Array)(3 * plane);
  for (let channel = 0; channel < 3; ++channel) {
    const from = !isRaw && rule.channel_order === "BGR" ? 2 - channel : channel;
    const mean = rule.mean ? rule.mean[channel] : 0;
    const deviation = rule.std ? rule.std[channel] : 1;
    for (let y = 0; y < rows; ++y) {
      for (let x = 0; x < columns; ++x) {
        const row = top + y;
        const column = left + x;
        const isInside = row >= 0 && row < height && column >= 0 && column < width;
        const byte = isInside ? resized.data[(row * width + column) * 4 + from] : 0;
        pixels[channel * plane + y * columns + x] = isRaw ? byte : (byte * rule.rescale - mean) / deviation;
      }
    }
  }
  return { data: pixels, dims: [1, 3, rows, columns] };
}
