// The tokens of every stage, drawn to scale: a cell is a token, the depth of a box its channels.

import { byId, counted, element, times } from "../dom.js";
import { begin, gridLines, ink, largest, outline, pixels } from "../draw.js";
import { chooseOn, chosenBlock, classChosen, kept, placeOn, state } from "../state.js";
import { lastBlocks, macs } from "../plan.js";

const DEPTH = 0.62; // CSS pixels a channel
const SLOPE = 0.5; // of the sides: as high as half their length
const GAP = 12;

let built = null;
let afterClick = () => {};

/** A click on a token chooses it. */
export function buildStages(redraw) {
  afterClick = redraw;
}

// A figure for each stage; made again when the model is another.
function build() {
  const figures = lastBlocks(state.model.plan).map((block) => {
    const [size, cost] = [sizeWords(block), costWords(block.stage)];
    const title = `Stage ${block.stage + 1}`;
    const canvas = element("canvas", { role: "img", label: `${title}: ${size}; ${cost}` });
    canvas.addEventListener("click", (event) => clicked(event, block));
    const strong = element("strong", { textContent: title });
    const lines = [strong, element("br"), size, element("br"), cost];
    const boxes = element("div", { className: "boxes" }, canvas);
    return element("figure", {}, element("figcaption", {}, ...lines), boxes);
  });
  byId("stages").replaceChildren(...figures);
  built = state.model;
}

const plural = (count, word) => `${count} ${word}${count > 1 ? "s" : ""}`;

function sizeWords({ thw_q, cls, dim_attn, heads }) {
  const tokens = `${times(thw_q)} tokens${cls ? " and class" : ""}`;
  return `${tokens}, ${dim_attn} channels, ${plural(heads, "head")}`;
}

function costWords(stage) {
  const { plan } = state.model;
  const counts = macs(plan);
  const inside = plan.blocks.filter((block) => block.stage === stage);
  const cost = inside.reduce((sum, block) => sum + counts[block.index + 1], 0);
  return `${plural(inside.length, "block")}, ${counted(cost)} multiply-adds`;
}

// As large as fits: the first stage has most cells.
function cellSize() {
  const { embed, blocks } = state.model.plan;
  const [t, , w] = embed.thw;
  const room = byId("stages").querySelector(".boxes").clientWidth;
  const sides = t * (GAP + DEPTH * blocks[0].dim_attn);
  return Math.max(3, Math.min(24, Math.floor((room - sides) / (t * w))));
}

export function drawStages() {
  if (built !== state.model) build();
  const size = cellSize();
  const canvases = byId("stages").querySelectorAll("canvas");
  lastBlocks(state.model.plan).forEach((block, i) => drawStage(canvases[i], block, size));
}

function clicked({ offsetX, offsetY }, block) {
  const [t, h, w] = block.thw_q;
  const [size, deep] = [cellSize(), DEPTH * block.dim_attn];
  const step = w * size + deep + GAP;
  const moment = Math.floor((offsetX - 2) / step);
  const column = Math.floor((offsetX - 2 - moment * step) / size);
  const row = Math.floor((offsetY - 2 - SLOPE * deep) / size);
  if (moment >= t || column >= w || row < 0 || row >= h) return;
  chooseOn(block.thw_q, [moment, row, column]);
  afterClick();
}

function drawStage(canvas, block, size) {
  const [t, h, w] = block.thw_q;
  const dim = block.dim_attn;
  // A stage's last block may give twice the channels; the stage is as wide as its inside.
  const name = block.dim_out === dim ? "output" : "added1";
  const tokens = kept(`blocks.${block.index}.${name}`).subarray(block.cls * dim);
  const [deep, limit] = [DEPTH * dim, 0.5 * largest(tokens)];
  const step = w * size + deep + GAP;
  canvas.style.width = `${Math.ceil(t * step)}px`;
  const context = begin(canvas, Math.ceil(t * step), Math.ceil(h * size + SLOPE * deep + 4));
  const active = activities(tokens, dim);
  for (let moment = 0; moment < t; moment++) {
    const [first, last] = [moment * h * w, (moment + 1) * h * w];
    const part = { tokens: tokens.subarray(first * dim), active: active.subarray(first, last) };
    const box = { ...part, block, size, deep, limit };
    drawBox(context, moment * step + 2, SLOPE * deep + 2, box);
    markToken(context, moment * step + 2, SLOPE * deep + 2, moment, block, size);
  }
}

// The root of the mean square of each token's channels, from 0 for the least to 1 for the most.
function activities(tokens, dim) {
  const active = new Float32Array(tokens.length / dim);
  tokens.forEach((x, i) => (active[Math.floor(i / dim)] += (x * x) / dim));
  active.forEach((x, i) => (active[i] = Math.sqrt(x)));
  const [low, high] = [Math.min(...active), Math.max(...active)];
  return active.map((x) => (x - low) / Math.max(high - low, 1e-6));
}

function drawBox(context, x, y, { tokens, active, block, size, deep, limit }) {
  const [[, h, w], dim] = [block.thw_q, block.dim_attn];
  const at = (row, column, channel) => tokens[(row * w + column) * dim + channel];
  const above = (i) => at(0, i % w, dim - 1 - Math.floor(i / w));
  const beside = (i) => at(Math.floor(i / dim), w - 1, i % dim);
  const [wide, high, rise] = [w * size, h * size, SLOPE * deep];
  const top = pixels(w, dim, above, "signed", limit);
  const side = pixels(dim, h, beside, "signed", limit);
  slanted(context, top, [wide / w, 0, -deep / dim, rise / dim, x + deep, y - rise]);
  slanted(context, side, [deep / dim, -rise / dim, 0, high / h, x + wide, y]);
  context.drawImage(
    pixels(w, h, (i) => active[i], "heat"),
    x,
    y,
    wide,
    high,
  );
  gridLines(context, x, y, w, h, size, ink().card);
  outline(context, x, y, wide, high, ink().grey, 1);
}

function markToken(context, x, y, moment, block, size) {
  const [t, row, column] = placeOn(block.thw_q);
  if (t !== moment || classChosen()) return;
  const line = chosenBlock().stage === block.stage ? 3 : 1.5;
  outline(context, x + column * size, y + row * size, size, size, ink().ink, line);
}

function slanted(context, picture, matrix) {
  context.save();
  context.transform(...matrix);
  context.drawImage(picture, 0, 0);
  context.restore();
}
