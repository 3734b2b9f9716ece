// Runs the folder's model in the folder's own runtime under Node, for whoever writes to its standard input: a
// line of JSON with the images' `dims`, then their bytes; back comes a line with the answers' `dims`, then
// those. Closing the input ends it.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const folder = new URL(`${pathToFileURL(process.argv[2]).href}/`);
const facts = JSON.parse(await readFile(new URL("model.json", folder), "utf8"));
const ort = await import(new URL("runtime/ort.wasm.min.mjs", folder));
ort.env.wasm.wasmPaths = new URL("runtime/", folder).href;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(await readFile(new URL(facts.file, folder)), {
  executionProviders: ["wasm"],
});

async function* messages(stream) {
  let held = Buffer.alloc(0);
  for await (const part of stream) {
    held = Buffer.concat([held, part]);
    for (let end = held.indexOf("\n"); end >= 0; end = held.indexOf("\n")) {
      const { dims } = JSON.parse(held.subarray(0, end).toString());
      const bytes = dims.reduce((a, b) => a * b) * (facts.raw ? 1 : 4);
      const after = end + 1 + bytes;
      if (held.length < after) break;
      yield { dims, bytes: Uint8Array.from(held.subarray(end + 1, after)) };
      held = held.subarray(after);
    }
  }
}

for await (const { dims, bytes } of messages(process.stdin)) {
  const images = facts.raw
    ? new ort.Tensor("uint8", bytes, dims)
    : new ort.Tensor("float32", new Float32Array(bytes.buffer), dims);
  const answers = (await session.run({ [facts.input]: images }))[facts.output];
  process.stdout.write(`${JSON.stringify({ dims: answers.dims })}\n`);
  process.stdout.write(new Uint8Array(answers.data.buffer, answers.data.byteOffset, answers.data.byteLength));
}
