// The page: a photograph in, labels out. Everything comes from this server.

import { classify, listModels, saliency, useToken } from "./api.js";
import { clearBars, showBars } from "./bars.js";
import * as camera from "./camera.js";
import { forgetHistory, watch } from "./live.js";
import { clearOverlay, drawOverlay } from "./saliency.js";
import { choose as chooseVariant, clearAnswers, compare, showVariants } from "./variants.js";

const element = (id) => document.getElementById(id);
const [drop, stage, photo, file, group] = ["drop", "stage", "photo", "file", "group"].map(element);
const [message, note, look, cameraButton] = ["message", "look-note", "look", "camera"].map(element);

let models = [];
let chosen = null;
let image = null;
let asking = new AbortController();

function complain(error) {
  if (error.name === "AbortError") return;
  message.textContent = error.message;
  message.hidden = false;
  element("token-form").hidden = error.status !== 401;
}

function restart() {
  asking.abort();
  asking = new AbortController();
  message.hidden = true;
  return asking.signal;
}

async function answer() {
  const signal = restart();
  look.setAttribute("aria-pressed", "false");
  note.textContent = "";
  clearOverlay();
  try {
    showBars(await classify(chosen, image, signal));
    await compare(image, signal);
  } catch (error) {
    if (error.name !== "AbortError") clearBars();
    complain(error);
  }
}

function open(blob) {
  if (camera.isOn()) stopCamera();
  image = blob;
  URL.revokeObjectURL(photo.src);
  photo.src = URL.createObjectURL(blob);
  photo.hidden = false;
  stage.hidden = false;
  element("invitation").hidden = true;
  look.disabled = false;
  clearAnswers();
  answer();
}

async function showLook() {
  if (!image || camera.isOn()) return;
  if (look.getAttribute("aria-pressed") === "true") {
    look.setAttribute("aria-pressed", "false");
    note.textContent = "";
    clearOverlay();
    return;
  }
  const signal = restart();
  look.setAttribute("aria-pressed", "true");
  note.textContent = "Covering one part after another …";
  try {
    const map = await saliency(chosen, image, signal);
    drawOverlay(map, photo.naturalWidth, photo.naturalHeight);
    note.textContent = `Bright: covering it makes the model less sure of “${map.label}”. `
      + `The frame is what it sees. ${map.grid.length ** 2 + 1} images, ${map.total_ms.toFixed(0)} ms.`;
  } catch (error) {
    look.setAttribute("aria-pressed", "false");
    note.textContent = "";
    complain(error);
  }
}

async function toggleCamera() {
  if (camera.isOn()) {
    const last = await camera.frame();
    open(last);
    return;
  }
  const signal = restart();
  try {
    await camera.start();
    cameraButton.setAttribute("aria-pressed", "true");
    stage.hidden = false;
    photo.hidden = true;
    element("invitation").hidden = true;
    look.disabled = true;
    clearOverlay();
    clearAnswers();
    while (camera.isOn() && !signal.aborted) {
      showBars(await classify(chosen, await camera.frame(), signal));
    }
  } catch (error) {
    if (error.name !== "AbortError") stopCamera();
    complain(error);
  }
}

function stopCamera() {
  camera.stop();
  cameraButton.setAttribute("aria-pressed", "false");
  photo.hidden = image === null;
  stage.hidden = image === null;
  element("invitation").hidden = image !== null;
  look.disabled = image === null;
}

function choose(name) {
  chosen = name;
  forgetHistory();
  if (image && !camera.isOn()) answer();
}

function showGroup() {
  const variants = models.filter((model) => model.group === group.value);
  showVariants(variants, variants[0].name, choose);
  choose(variants[0].name);
}

async function load() {
  try {
    models = await listModels();
  } catch (error) {
    complain(error);
    return;
  }
  message.hidden = true;
  element("token-form").hidden = true;
  const groups = [...new Set(models.map((model) => model.group))];
  group.replaceChildren(...groups.map((name) => new Option(name)));
  showGroup();
}

function firstImage(transfer) {
  return [...(transfer?.files ?? [])].find(({ type }) => type.startsWith("image/")) ?? transfer?.files[0];
}

group.addEventListener("change", showGroup);
file.addEventListener("change", () => { if (file.files[0]) open(file.files[0]); file.value = ""; });
element("choose").addEventListener("click", () => file.click());
drop.addEventListener("click", () => file.click());
look.addEventListener("click", showLook);
cameraButton.addEventListener("click", toggleCamera);
element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(element("token").value);
  load();
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", () => drop.classList.remove("over"));
for (const kind of ["drop", "paste"]) {
  document.addEventListener(kind, (event) => {
    const dropped = firstImage(event.dataTransfer ?? event.clipboardData);
    drop.classList.remove("over");
    if (dropped) { event.preventDefault(); open(dropped); }
  });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.id === "token") return;
  const key = event.key.toLowerCase();
  if (key === "o" || (event.target === drop && (key === "enter" || key === " "))) {
    event.preventDefault();
    file.click();
  } else if (key === "c") toggleCamera();
  else if (key === "w") showLook();
  else if (key === "escape" && camera.isOn()) { restart(); stopCamera(); }
  else if (/^[1-9]$/.test(key)) chooseVariant(Number(key) - 1);
});
watch(() => chosen, complain);
load();
