// Pillow's resampling, so that the network sees here what it sees in Python: each output pixel is a weighted
// mean of the input pixels under a filter, which widens when the image shrinks; columns first, then rows, with
// bytes in between. Weights are whole numbers of 2^-22, as Pillow's are: halves then round as they do there.

const ONE = 2 ** 22;

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0),
  },
  bicubic: {
    support: 2,
    weight: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

// For each output pixel: the first input pixel, and the weights from there on.
function windows(from, to, filter) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: to }, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const weights = new Float64Array(end - first);
    let sum = 0;
    for (let i = 0; i < weights.length; ++i) {
      weights[i] = filter.weight((first + i - center + 0.5) / stretch);
      sum += weights[i];
    }
    return { first, weights: weights.map((weight) => roundAwayFromZero((weight / sum) * ONE)) };
  });
}

function roundAwayFromZero(value) {
  return value < 0 ? Math.ceil(value - 0.5) : Math.floor(value + 0.5);
}

function toByte(sum) {
  return Math.min(255, Math.max(0, Math.floor((sum + ONE / 2) / ONE)));
}

// One direction: `lines` lines of pixels, `step` bytes between neighbours of a line and `lineStep` between
// lines, both given as [from, to].
function resample(source, target, lines, step, lineStep, taps) {
  for (let line = 0; line < lines; ++line) {
    for (let index = 0; index < taps.length; ++index) {
      const { first, weights } = taps[index];
      let red = 0;
      let green = 0;
      let blue = 0;
      let at = line * lineStep[0] + first * step[0];
      for (let i = 0; i < weights.length; ++i, at += step[0]) {
        red += weights[i] * source[at];
        green += weights[i] * source[at + 1];
        blue += weights[i] * source[at + 2];
      }
      const to = line * lineStep[1] + index * step[1];
      target[to] = toByte(red);
      target[to + 1] = toByte(green);
      target[to + 2] = toByte(blue);
    }
  }
}

// For each output pixel the input pixel at its centre, found step by step: sums round as Pillow's do.
function centers(from, to) {
  const found = new Int32Array(to);
  const step = from / to;
  for (let index = 0, at = step / 2; index < to; ++index, at += step) found[index] = Math.trunc(at);
  return found;
}

function nearest(image, width, height) {
  const data = new Uint8Array(width * height * 4);
  const columns = centers(image.width, width);
  centers(image.height, height).forEach((row, y) => {
    columns.forEach((column, x) => {
      const from = (row * image.width + column) * 4;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 4);
    });
  });
  return { data, width, height };
}

// {data, width, height}, data four bytes a pixel of which the last is ignored, to that size.
export function resize(image, width, height, filterName) {
  if (filterName === "nearest") return nearest(image, width, height);
  const filter = FILTERS[filterName];
  let { data } = image;
  if (width !== image.width) {
    const taps = windows(image.width, width, filter);
    const narrowed = new Uint8Array(width * image.height * 4);
    resample(data, narrowed, image.height, [4, 4], [image.width * 4, width * 4], taps);
    data = narrowed;
  }
  if (height !== image.height) {
    const taps = windows(image.height, height, filter);
    const lowered = new Uint8Array(width * height * 4);
    resample(data, lowered, width, [width * 4, width * 4], [4, 4], taps);
    data = lowered;
  }
  return { data, width, height };
}
