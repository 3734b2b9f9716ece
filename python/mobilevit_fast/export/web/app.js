// The page: chooses an engine, hands it photographs, shows what it answers.

const SHOWN = 5;
const RUNS = 20;

const element = (id) => document.getElementById(id);
const page = Object.fromEntries(
  ["title", "subtitle", "file", "drop", "preview", "hint", "answers", "status", "engine", "measure", "advice"].map(
    (id) => [id, element(id)],
  ),
);

// A worker with the model in it. Tasks are answered in the order in which they were given.
class Engine {
  constructor() {
    this.worker = new Worker("worker.js", { type: "module" });
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the worker failed"));
      this.waiting.clear();
    };
  }

  do(task, given) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, given });
    });
  }

  stop() {
    this.worker.terminate();
  }
}

async function engines() {
  const found = [{ name: "WebAssembly, 1 thread", backend: "wasm", threads: 1 }];
  const cores = navigator.hardwareConcurrency || 1;
  if (self.crossOriginIsolated) {
    for (let threads = 2; threads <= Math.min(cores, 8); threads *= 2) {
      found.push({ name: `WebAssembly, ${threads} threads`, backend: "wasm", threads });
    }
  }
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter) found.push({ name: "WebGPU", backend: "webgpu", threads: 1 });
  return found;
}

function say(text, isFailure = false) {
  page.status.textContent = text;
  page.status.classList.toggle("failed", isFailure);
}

function show(scores, labels) {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
  page.answers.replaceChildren(
    ...order.slice(0, SHOWN).map((index) => {
      const [item, bar, label, score] = ["li", "span", "span", "span"].map((tag) => document.createElement(tag));
      bar.className = "bar";
      bar.style.width = `${100 * scores[index]}%`;
      label.className = "label";
      label.textContent = labels[index] ?? `class ${index}`;
      score.className = "score";
      score.textContent = `${(100 * scores[index]).toFixed(1)} %`;
      item.append(bar, label, score);
      return item;
    }),
  );
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;

let facts;
let engine;
let photograph;
let isClassified = false; // the engine then has an image to measure with
// Counts what was asked for: an answer to an earlier wish is not shown.
let wish = 0;

async function attempt(task) {
  const own = ++wish;
  page.measure.disabled = true;
  try {
    await task(() => own === wish);
  } catch (error) {
    if (own === wish) say(error.message, true);
  } finally {
    if (own === wish) page.measure.disabled = !isClassified;
  }
}

async function classify(isWanted) {
  say("Classifying…");
  isClassified = false;
  const { scores, prepared, milliseconds: time } = await engine.do("classify", { file: photograph });
  if (!isWanted()) return;
  isClassified = true;
  show(scores, facts.labels);
  say(`Classified in ${milliseconds(time)}, after ${milliseconds(prepared)} of decoding and resizing.`);
}

function choose(file) {
  if (!file) return;
  photograph = file;
  URL.revokeObjectURL(page.preview.src);
  page.preview.src = URL.createObjectURL(file);
  page.preview.alt = file.name || "The photograph";
  page.preview.hidden = false;
  page.hint.textContent = "Choose, drop or paste another.";
  page.answers.replaceChildren();
  attempt(classify);
}

function useEngine(choice) {
  engine?.stop();
  engine = new Engine();
  const own = engine;
  isClassified = false;
  attempt(async (isWanted) => {
    say("Loading the model…");
    const before = performance.now();
    const started = own.do("start", { ...choice, model: facts });
    await started;
    if (!isWanted()) return;
    page.file.disabled = false;
    if (photograph) await classify(isWanted);
    else say(`Ready after ${milliseconds(performance.now() - before)}.`);
  });
}

function measure() {
  attempt(async (isWanted) => {
    say(`Running it ${RUNS} times…`);
    const { median } = await engine.do("measure", { runs: RUNS });
    if (isWanted()) say(`${milliseconds(median)}, median of ${RUNS} runs on ${page.engine.selectedOptions[0].text}.`);
  });
}

function listen(choices) {
  page.engine.replaceChildren(...choices.map(({ name }, index) => new Option(name, index)));
  page.engine.disabled = choices.length < 2;
  page.engine.addEventListener("change", () => useEngine(choices[page.engine.value]));
  page.measure.addEventListener("click", measure);
  page.file.addEventListener("change", () => {
    choose(page.file.files[0]);
    page.file.value = "";
  });
  addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      page.drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") choose(event.dataTransfer.files[0]);
    });
  }
}

async function begin() {
  facts = await (await fetch("model.json")).json();
  page.title.textContent = facts.name;
  page.subtitle.textContent = `${facts.labels.length} classes, ${(facts.bytes / 1e6).toFixed(1)} MB, in this browser.`;
  document.title = facts.name;
  const choices = await engines();
  listen(choices);
  if (!self.crossOriginIsolated) {
    page.advice.textContent =
      "Several threads need the headers of cross-origin isolation; serve.py in this folder sends them.";
  }
  useEngine(choices[0]);
}

begin().catch((error) => say(error.message, true));
