// Talks to the server. Errors carry the detail of its problem JSON.

const STORED = "mobilevit_fast.token";

export class ServerError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function useToken(token) {
  sessionStorage.setItem(STORED, token);
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(STORED);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "the server cannot be reached");
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new ServerError(response.status, problem.detail ?? `the server answered ${response.status}`);
}

export function listModels() {
  return ask("/models");
}

export function classify(model, image, signal) {
  return ask(`/classify?model=${encodeURIComponent(model)}`, { method: "POST", body: image, signal });
}

export function saliency(model, image, signal) {
  return ask(`/saliency?model=${encodeURIComponent(model)}`, { method: "POST", body: image, signal });
}
