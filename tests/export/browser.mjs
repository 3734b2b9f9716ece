// Drives the page in a headless Chromium through its debugging protocol:
//   node --experimental-websocket browser.mjs CHROMIUM URL PHOTOGRAPH [WIDTH HEIGHT light|dark SCREENSHOT [ENGINE]]
// and writes as JSON what the page shows. ENGINE is the beginning of a name in the page's list.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [chromium, url, photograph, width = "412", height = "915", scheme = "light", screenshot, engine] =
  process.argv.slice(2);
const profile = await mkdtemp(join(tmpdir(), "browser-"));
const flags = ["--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0"];
if (process.env.CHROMIUM_FLAGS) flags.push(...process.env.CHROMIUM_FLAGS.split(" "));
const browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, "about:blank"], {
  stdio: ["ignore", "ignore", "pipe"],
});

function address() {
  return new Promise((resolve, reject) => {
    let said = "";
    browser.stderr.on("data", (part) => {
      said += part;
      const found = said.match(/DevTools listening on (ws:\S+)/);
      if (found) resolve(found[1]);
    });
    browser.on("exit", () => reject(new Error(said)));
  });
}

class Protocol {
  constructor(socket) {
    this.socket = socket;
    this.waiting = new Map();
    this.events = [];
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (!message.id) return this.events.push(message);
      const { resolve, reject } = this.waiting.get(message.id);
      return message.error ? reject(new Error(JSON.stringify(message.error))) : resolve(message.result);
    };
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.waiting.size + 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }
}

async function drive() {
  const socket = new WebSocket(await address());
  await new Promise((resolve) => (socket.onopen = resolve));
  const protocol = new Protocol(socket);
  const { targetId } = await protocol.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await protocol.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => protocol.send(method, params, sessionId);
  const evaluate = async (expression) =>
    (await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true })).result.value;
  const until = async (expression) => {
    while (!(await evaluate(expression))) await new Promise((resolve) => setTimeout(resolve, 100));
  };
  for (const domain of ["Page", "DOM", "Network", "Log", "Runtime"]) await send(`${domain}.enable`);
  const size = { width: Number(width), height: Number(height) };
  await send("Emulation.setDeviceMetricsOverride", { ...size, deviceScaleFactor: 2, mobile: size.width < 600 });
  await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  // So that several threads are offered on any machine.
  await send("Emulation.setHardwareConcurrencyOverride", { hardwareConcurrency: 4 });
  await send("Page.navigate", { url });
  const settled = "/^(Ready|Classified)/.test(document.querySelector('#status')?.textContent)";
  const failed = "document.querySelector('#status')?.classList.contains('failed')";
  await until(`${settled} || ${failed}`);
  if (engine) {
    await evaluate(`{ const list = document.querySelector('#engine');
      list.value = [...list.options].find((option) => option.text.startsWith(${JSON.stringify(engine)})).value;
      list.dispatchEvent(new Event('change')); }`);
    await until(`${settled} || ${failed}`);
  }
  const { root } = await send("DOM.getDocument");
  const { nodeId } = await send("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
  await send("DOM.setFileInputFiles", { nodeId, files: [resolve(photograph)] });
  await until(`document.querySelectorAll('#answers li').length > 0 || ${failed}`);
  const shown = await evaluate(`({
    title: document.title,
    status: document.querySelector('#status').textContent,
    engines: [...document.querySelectorAll('#engine option')].map((option) => option.text),
    answers: [...document.querySelectorAll('#answers li')].map((item) => [
      item.querySelector('.label').textContent, parseFloat(item.querySelector('.score').textContent)]),
    isolated: self.crossOriginIsolated,
    measurable: !document.querySelector('#measure').disabled,
    overflow: document.documentElement.scrollWidth > innerWidth,
  })`);
  if (screenshot) {
    const { data } = await send("Page.captureScreenshot", { captureBeyondViewport: true });
    await writeFile(screenshot, Buffer.from(data, "base64"));
  }
  await evaluate("document.querySelector('#measure').click()");
  await until(`/median|rror/.test(document.querySelector('#status').textContent) || ${failed}`);
  const measured = await evaluate("document.querySelector('#status').textContent");
  const asked = protocol.events.filter(({ method }) => method === "Network.requestWillBeSent");
  const complaints = protocol.events.filter(
    ({ method, params }) =>
      method === "Runtime.exceptionThrown" || (method === "Log.entryAdded" && params.entry.level === "error"),
  );
  return {
    ...shown,
    measured,
    origins: [...new Set(asked.map(({ params }) => new URL(params.request.url).origin))],
    complaints: complaints.map(({ params }) => params),
  };
}

try {
  console.log(JSON.stringify(await drive()));
} finally {
  browser.removeAllListeners("exit");
  const ended = new Promise((resolve) => browser.once("exit", resolve));
  browser.kill();
  await ended;
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(0);
