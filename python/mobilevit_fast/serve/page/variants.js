// The precisions of a model side by side: what each answers, and how fast it is.

import { classify } from "./api.js";
import { track } from "./bars.js";

const body = document.querySelector("#variants tbody");
const REPEATS = 3;

let rows = [];

export function showVariants(models, chosen, choose) {
  rows = models.map((model, index) => {
    const row = document.createElement("tr");
    const label = document.createElement("label");
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "variant";
    radio.value = model.name;
    radio.checked = model.name === chosen;
    radio.addEventListener("change", () => choose(model.name));
    label.append(radio, model.precision);
    label.title = `${model.name}: ${model.isa}, ${model.threads} threads, key ${index + 1}`;
    const [precision, answer, ms, speed] = [0, 1, 2, 3].map(() => document.createElement("td"));
    precision.append(label);
    row.append(precision, answer, ms, speed);
    return { model, row, radio, answer, ms, speed, time: model.image_ms };
  });
  body.replaceChildren(...rows.map(({ row }) => row));
  showSpeeds();
}

export function choose(index) {
  rows[index]?.radio.click();
}

// Runs the image in each precision in turn; the best of a few runs is its speed, undisturbed by others.
export async function compare(image, signal) {
  for (const entry of rows) {
    let best = Infinity;
    let answer;
    for (let run = 0; run < REPEATS; run += 1) {
      answer = await classify(entry.model.name, image, signal);
      best = Math.min(best, answer.run_ms / answer.batch_size);
    }
    const [first] = answer.predictions;
    entry.time = best;
    entry.answer.textContent = `${first.label} ${(100 * first.score).toFixed(1)} %`;
    showSpeeds();
  }
}

export function clearAnswers() {
  for (const { answer } of rows) answer.textContent = "";
}

function showSpeeds() {
  const fastest = Math.min(...rows.map(({ time }) => time ?? Infinity));
  for (const { time, ms, speed } of rows) {
    ms.textContent = time ? time.toFixed(2) : "";
    speed.replaceChildren(track(time ? fastest / time : 0));
  }
}
