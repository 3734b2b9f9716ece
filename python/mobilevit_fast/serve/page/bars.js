// The five most probable labels, as bars.

const list = document.getElementById("bars");
const timing = document.getElementById("timing");

export function track(share) {
  const outer = document.createElement("div");
  const inner = document.createElement("i");
  outer.className = "track";
  inner.style.width = `${(100 * share).toFixed(1)}%`;
  outer.append(inner);
  return outer;
}

export function showBars(answer) {
  list.replaceChildren(...answer.predictions.map((prediction) => {
    const row = document.createElement("li");
    const label = document.createElement("span");
    const score = document.createElement("span");
    label.textContent = prediction.label;
    score.textContent = `${(100 * prediction.score).toFixed(1)} %`;
    row.append(label, score, track(prediction.score));
    return row;
  }));
  const together = answer.batch_size > 1 ? `, ${answer.batch_size} images together` : "";
  timing.textContent = `${answer.total_ms.toFixed(1)} ms: decoding ${answer.decode_ms.toFixed(1)}, `
    + `engine ${answer.run_ms.toFixed(1)}${together}`;
}

export function clearBars() {
  list.replaceChildren();
  timing.textContent = "";
}
