// Change the model: what is multiscale about it can be turned off, and the bill is shown.

import { byId, counted, element, on, say, times, whole } from "../dom.js";
import { changed, lastBlocks, macs, plan, vitBeside } from "../plan.js";
import { forward, makeModel } from "../model.js";
import { generator, init } from "../params.js";
import { state } from "../state.js";

const SWITCHES = { queries: "pool-queries", keys: "pool-keys", channels: "grow-channels" };
const PASSES = 5;
const made = new Map(); // models by what is switched on

const switched = () =>
  Object.fromEntries(Object.entries(SWITCHES).map(([name, id]) => [name, byId(id).checked]));
const isWhole = (parts) => Object.values(parts).every(Boolean);

export function buildBill(afterChange) {
  for (const id of Object.values(SWITCHES)) {
    on(id, "input", () => {
      state.model = modelOf(switched());
      byId("random-note").hidden = state.model === state.trained;
      afterChange();
      drawBill();
    });
  }
  on("measure", "click", () => drawBill(true));
}

function modelOf(parts) {
  if (isWhole(parts)) return state.trained;
  return remembered(JSON.stringify(parts), () => changed(state.trained.config, parts));
}

function remembered(name, config) {
  if (!made.has(name)) {
    const chosen = config();
    made.set(name, makeModel(chosen, init(plan(chosen), generator(1))));
  }
  return made.get(name);
}

/** Milliseconds of a forward pass: the shortest of some, which other programs disturbed least. */
export function milliseconds(model, passes = PASSES) {
  const { thw_in, channels } = model.plan.embed;
  const clip = new Float32Array(thw_in.reduce((a, b) => a * b, channels));
  forward(model, clip);
  let shortest = Infinity;
  for (let i = 0; i < passes; i++) {
    const start = performance.now();
    forward(model, clip);
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

const known = new Map();
function timeOf(model, again) {
  if (again || !known.has(model)) known.set(model, milliseconds(model));
  return known.get(model);
}

/** The table: the model that came, the changed one, and a ViT. */
export function drawBill(again = false) {
  const models = [["this model, trained", state.trained]];
  if (state.model !== state.trained) models.push(["changed, random", state.model]);
  models.push(["ViT, random", remembered("ViT", () => vitBeside(state.trained.config))]);
  const columns = models.map(([title, model]) => ({
    title,
    ...billOf(model),
    ms: timeOf(model, again),
  }));
  const stages = (name) => (column) => column.stages.map((stage) => stage[name]).join(" → ");
  const rows = [
    ["tokens of each stage", stages("tokens")],
    ["channels", stages("channels")],
    ["keys", stages("keys")],
    ["multiply-adds", (c) => counted(c.macs), "macs"],
    ["parameters", (c) => whole(c.parameters), "parameters"],
    ["milliseconds an answer", (c) => c.ms.toFixed(1), "ms"],
  ];
  byId("costs").replaceChildren(
    head(columns),
    element("tbody", {}, ...rows.map((row) => line(row, columns))),
  );
  say("bill-note", words(columns));
}

function billOf(model) {
  const stages = lastBlocks(model.plan).map((block) => ({
    tokens: block.tokens_q,
    channels: block.dim_attn,
    keys: block.tokens_kv,
    grid: times(block.thw_q),
  }));
  return {
    stages,
    macs: macs(model.plan).reduce((a, b) => a + b),
    parameters: numbersIn(model.params),
  };
}

function numbersIn(params) {
  if (params instanceof Float32Array) return params.length;
  return Object.values(params).reduce((sum, inner) => sum + numbersIn(inner), 0);
}

function head(columns) {
  const cells = columns.map(({ title }) => element("th", { scope: "col", textContent: title }));
  return element(
    "thead",
    {},
    element("tr", {}, element("th", { scope: "col", textContent: "one clip" }), ...cells),
  );
}

function line([title, text, name], columns) {
  const most = name && Math.max(...columns.map((column) => column[name]));
  const cells = columns.map((column) => {
    const cell = element("td", { textContent: text(column) });
    if (name) cell.style.setProperty("--share", column[name] / most);
    return cell;
  });
  return element("tr", {}, element("th", { scope: "row", textContent: title }), ...cells);
}

function words(columns) {
  const [first, last] = [columns[0], columns.at(-1)];
  const fold = (column) => `${(column.macs / first.macs).toFixed(1)} times the multiply-adds`;
  const beside = `A ViT of the same depth takes ${fold(last)}.`;
  return columns.length < 3 ? beside : `As changed, the model takes ${fold(columns[1])}. ${beside}`;
}
