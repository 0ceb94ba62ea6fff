// The tokens of every stage, drawn to scale: a cell is a token, the depth of a box its channels.

import { byId, counted, describe, element, times } from "../dom.js";
import { begin, gridLines, ink, largest, outline, pixels } from "../draw.js";
import { chosenBlock, classChosen, kept, placeOn, state } from "../state.js";
import { lastBlocks, macs } from "../plan.js";

const DEPTH = 0.62; // CSS pixels a channel
const SLOPE = 0.5; // of the sides: as high as half their length
const GAP = 12;

let built = null;

// A figure for each stage; made again when the model is another.
function build() {
  const figures = lastBlocks(state.model.plan).map((block) => {
    const [size, cost] = [sizeWords(block), costWords(block.stage)];
    const title = `Stage ${block.stage + 1}`;
    const canvas = element("canvas", { role: "img", label: `${title}: ${size}; ${cost}` });
    const strong = element("strong", { textContent: title });
    const lines = [strong, element("br"), size, element("br"), cost];
    return element("figure", {}, canvas, element("figcaption", {}, ...lines));
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
  const [t, , w] = state.model.plan.embed.thw;
  const room =
    Math.min(560, byId("stages").clientWidth) -
    t * (GAP + DEPTH * state.model.plan.blocks[0].dim_attn);
  return Math.max(4, Math.min(16, Math.floor(room / (t * w))));
}

export function drawStages() {
  if (built !== state.model) build();
  const size = cellSize();
  const canvases = byId("stages").querySelectorAll("canvas");
  lastBlocks(state.model.plan).forEach((block, i) => drawStage(canvases[i], block, size));
}

function drawStage(canvas, block, size) {
  const [t, h, w] = block.thw_q;
  // A stage's last block may give twice the channels; the stage is as wide as its inside.
  const name = block.dim_out === block.dim_attn ? "output" : "added1";
  const tokens = kept(`blocks.${block.index}.${name}`);
  const box = {
    tokens,
    block,
    size,
    dim: block.dim_attn,
    deep: DEPTH * block.dim_attn,
    limit: 0.5 * largest(tokens),
  };
  const step = w * size + box.deep + GAP;
  const [width, height] = [Math.ceil(t * step), Math.ceil(h * size + SLOPE * box.deep + 4)];
  canvas.style.width = `${width}px`;
  const context = begin(canvas, width, height);
  for (let moment = 0; moment < t; moment++)
    drawBox(context, moment * step + 2, SLOPE * box.deep + 2, moment, box);
  describe(canvas, canvas.getAttribute("aria-label"));
}

function drawBox(context, x, y, moment, box) {
  const { tokens, block, size, dim, deep, limit } = box;
  const [, h, w] = block.thw_q;
  const at = (row, column, channel) =>
    tokens[(block.cls + (moment * h + row) * w + column) * dim + channel];
  const active = (row, column) => {
    let sum = 0;
    for (let c = 0; c < dim; c++) sum += at(row, column, c) ** 2;
    return Math.sqrt(sum / dim);
  };
  const top = pixels(w, dim, (i) => at(0, i % w, dim - 1 - Math.floor(i / w)), "signed", limit);
  const side = pixels(dim, h, (i) => at(Math.floor(i / dim), w - 1, i % dim), "signed", limit);
  const front = pixels(w, h, (i) => active(Math.floor(i / w), i % w), "heat", limit);
  const [wide, high, rise] = [w * size, h * size, SLOPE * deep];
  slanted(context, top, [wide / w, 0, -deep / dim, rise / dim, x + deep, y - rise]);
  slanted(context, side, [deep / dim, -rise / dim, 0, high / h, x + wide, y]);
  context.drawImage(front, x, y, wide, high);
  gridLines(context, x, y, w, h, size, ink().card);
  outline(context, x, y, wide, high, ink().grey, 1);
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
