// The API's description, from the server's own openapi.json.

const make = (tag, text, className = "") => {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
};

function describe(path, method, operation) {
  const section = document.createElement("section");
  const heading = document.createElement("h3");
  heading.append(make("span", method.toUpperCase(), "method"), make("code", path));
  section.append(heading, make("p", operation.summary ?? ""));
  if (operation.description) section.append(make("p", operation.description));
  if (operation.parameters?.length) {
    const list = document.createElement("ul");
    for (const { name, in: place, required, description } of operation.parameters) {
      const line = document.createElement("li");
      line.append(make("code", name), ` in ${place}${required ? ", required" : ""}. ${description ?? ""}`);
      list.append(line);
    }
    section.append(list);
  }
  const body = operation.requestBody;
  if (body) {
    section.append(make("p", `Body: ${Object.keys(body.content).join(", ")}. ${body.description ?? ""}`));
    const example = body.content["application/json"]?.example;
    if (example) section.append(make("pre", JSON.stringify(example, null, 2)));
  }
  return section;
}

const api = await (await fetch("/openapi.json")).json();
document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
const main = document.getElementById("operations");
main.append(make("p", api.info.description));
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) main.append(describe(path, method, operation));
}
