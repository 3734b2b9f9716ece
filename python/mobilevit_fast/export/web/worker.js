// Runs the model away from the page, which stays awake meanwhile. Another engine means another worker: the
// runtime settles its number of threads once.
import { prepare } from "./prepare.js";

const RUNTIMES = { wasm: "./runtime/ort.wasm.min.mjs", webgpu: "./runtime/ort.webgpu.min.mjs" };

let ort;
let session;
let facts;
let last;

async function start({ backend, threads, model }) {
  facts = model;
  ort = await import(RUNTIMES[backend]);
  ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const answer = await fetch(facts.file);
  if (!answer.ok) throw new Error(`${facts.file}: ${answer.status} ${answer.statusText}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  session = await ort.InferenceSession.create(bytes, { executionProviders: [backend] });
  // Memory is claimed and shaders are made in a first run, which would else be the first photograph's.
  const [height, width] = facts.size;
  const blank = new (facts.raw ? Uint8Array : Float32Array)(3 * height * width);
  await run({ data: blank, dims: [1, 3, height, width] });
}

async function run({ data, dims }) {
  const images = new ort.Tensor(facts.raw ? "uint8" : "float32", data, dims);
  const before = performance.now();
  const answers = await session.run({ [facts.input]: images });
  const milliseconds = performance.now() - before;
  return { scores: Float32Array.from(answers[facts.output].data), milliseconds };
}

async function pixelsOf(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function probabilities(logits) {
  const greatest = logits.reduce((a, b) => Math.max(a, b));
  const exponentials = logits.map((logit) => Math.exp(logit - greatest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

async function classify({ file }) {
  const before = performance.now();
  last = prepare(await pixelsOf(file), facts.preprocessing, facts.raw);
  const prepared = performance.now() - before;
  const { scores, milliseconds } = await run(last);
  return { scores: facts.softmax ? scores : probabilities(scores), prepared, milliseconds };
}

async function measure({ runs }) {
  const times = [];
  for (let i = 0; i < runs; ++i) times.push((await run(last)).milliseconds);
  times.sort((a, b) => a - b);
  return { median: times[Math.floor(runs / 2)] };
}

const TASKS = { start, classify, measure };

self.onmessage = async ({ data: { id, task, given } }) => {
  try {
    self.postMessage({ id, result: await TASKS[task](given) });
  } catch (error) {
    self.postMessage({ id, error: error.message || String(error) });
  }
};
