// Latency, throughput and batches of the chosen model, once a second.

import { listModels } from "./api.js";

const list = document.getElementById("live");
const line = document.querySelector("#history polyline");
const SECONDS = 60;

let history = [];

function shown(value, digits) {
  return value === null ? "–" : value.toFixed(digits);
}

function draw(model) {
  const facts = [
    ["median", `${shown(model.p50_ms, 1)} ms`],
    ["99 of 100 within", `${shown(model.p99_ms, 1)} ms`],
    ["images a second", shown(model.images_per_second, 1)],
    ["mean batch", shown(model.mean_batch, 1)],
    ["batch allowed", String(model.chosen_batch)],
    ["waiting", String(model.pending)],
  ];
  list.replaceChildren(...facts.map(([name, value]) => {
    const pair = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    pair.append(term, text);
    return pair;
  }));
  history = [...history, model.p50_ms ?? 0].slice(-SECONDS);
  const most = Math.max(...history, 1);
  const points = history.map((ms, index) => `${300 * index / (SECONDS - 1)},${58 - 54 * ms / most}`);
  line.setAttribute("points", points.join(" "));
}

export function forgetHistory() {
  history = [];
}

export function watch(chosen, failed) {
  const tick = async () => {
    if (!document.hidden && chosen()) {
      try {
        const model = (await listModels()).find(({ name }) => name === chosen());
        if (model) draw(model);
      } catch (error) {
        failed(error);
      }
    }
    setTimeout(tick, 1000);
  };
  tick();
}
