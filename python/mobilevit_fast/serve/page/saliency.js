// Draws what the model looked at over the photograph.

const canvas = document.getElementById("overlay");

// From transparent over blue and magenta to yellow: readable in colour blindness, and over any photograph.
function colour(value) {
  const red = Math.round(255 * Math.min(1, 1.6 * value));
  const green = Math.round(255 * Math.max(0, 2 * value - 1));
  const blue = Math.round(255 * Math.max(0, 0.85 - 0.85 * Math.max(0, 2 * value - 1)));
  return [red, green, blue, Math.round(200 * Math.min(1, 1.5 * value))];
}

export function drawOverlay(map, width, height) {
  const size = map.grid.length;
  const small = document.createElement("canvas");
  small.width = small.height = size;
  const pixels = new ImageData(size, size);
  map.grid.flat().forEach((value, index) => pixels.data.set(colour(value), 4 * index));
  small.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = width;
  canvas.height = height;
  const [left, top, right, bottom] = map.box;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left * width, top * height, (right - left) * width, (bottom - top) * height);
  context.strokeStyle = "rgba(255, 255, 255, 0.7)";
  context.lineWidth = Math.max(1, width / 400);
  context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
}

export function clearOverlay() {
  canvas.width = canvas.height = 1;
}
