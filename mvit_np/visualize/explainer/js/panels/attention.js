// What the chosen token attends to in each head, and the class token in each stage, on the frames.

import { byId, decimal, describe, element, percent, say } from "../dom.js";
import { begin, framePicture, ink, label, largest, outline, pixels } from "../draw.js";
import {
  chosenBlock,
  classChosen,
  frameOf,
  kept,
  placeOn,
  rowOn,
  state,
  tokenWords,
} from "../state.js";
import { lastBlocks } from "../plan.js";

const GAP = 6;
const STRIP = 20; // CSS pixels, as is the next
const WORDS = 56;
let built = "";

/** What query `row` gives to each key of the grid in one head.   ->   (t h w) */
export function shares(block, head, row) {
  const p = kept(`blocks.${block.index}.attention`);
  const from = (head * block.tokens_q + row) * block.tokens_kv;
  return p.subarray(from + block.cls, from + block.tokens_kv);
}

/** What the class token gives to each key, a mean over heads; without one, a mean over queries. */
export function classShares(block) {
  const mean = new Float32Array(block.tokens_kv - block.cls);
  const rows = block.cls ? [0] : Array.from({ length: block.tokens_q }, (_, i) => i);
  for (let head = 0; head < block.heads; head++) {
    for (const row of rows)
      shares(block, head, row).forEach((x, i) => (mean[i] += x / (block.heads * rows.length)));
  }
  return mean;
}

function build(block) {
  const name = `${block.index} ${block.heads} ${state.model.plan.blocks.length}`;
  if (name === built) return;
  built = name;
  const heads = Array.from({ length: block.heads }, (_, i) => figure(`Head ${i + 1}`));
  for (const head of heads) head.insertBefore(picture("Its query", "query"), head.lastChild);
  byId("attention-heads").replaceChildren(...heads);
  const stages = lastBlocks(state.model.plan).map((each) => figure(`Stage ${each.stage + 1}`));
  byId("attention-stages").replaceChildren(...stages);
}

const picture = (label, className = "") => element("canvas", { className, role: "img", label });

function figure(title) {
  const strong = element("strong", { textContent: title });
  const caption = element("figcaption", {}, strong, element("span"));
  return element("figure", {}, picture(title), caption);
}

export function drawAttention() {
  const block = chosenBlock();
  build(block);
  const row = rowOn(block.thw_q);
  [...byId("attention-heads").children].forEach((figure, head) => {
    const all = shares(block, head, row);
    drawMap(figure, all, block, !classChosen());
    drawQuery(figure.querySelector(".query"), block, head, row);
  });
  const figures = byId("attention-stages").children;
  lastBlocks(state.model.plan).forEach((each, i) =>
    drawMap(figures[i], classShares(each), each, false),
  );
  const which = `Above: block ${block.index + 1}, ${tokenWords()}.`;
  say("attention-caption", `${which} Each picture is the middle frame of what a moment sees.`);
}

// A picture for each moment of the keys: the more orange a region, the more it is looked at.
function drawMap(figure, all, block, marked) {
  const canvas = figure.querySelector("canvas");
  const [t, h, w] = block.thw_kv;
  const width = Math.max(200, canvas.clientWidth);
  const { embed } = state.model.plan;
  const size = (width - GAP * (t - 1)) / t;
  const high = (size * embed.thw_in[1]) / embed.thw_in[2];
  const context = begin(canvas, width, high + 16);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  for (let moment = 0; moment < t; moment++) {
    const x = moment * (size + GAP);
    const frame = frameOf(moment, t);
    label(context, t > 6 ? `${frame + 1}` : `frame ${frame + 1}`, x, 11, ink().grey, 11);
    context.drawImage(framePicture(state.clip, frame, embed.thw_in), x, 16, size, high);
    for (let i = 0; i < h * w; i++) {
      const box = [
        x + ((i % w) * size) / w,
        16 + (Math.floor(i / w) * high) / h,
        size / w,
        high / h,
      ];
      drawShare(context, box, (all[moment * h * w + i] - least) / Math.max(most - least, 1e-6));
    }
    if (marked) markToken(context, x, moment, t, size, high, block);
  }
  tell(figure, canvas, block, all, [least, most]);
}

// The numbers that the token asks with in one head.
function drawQuery(canvas, { index, dim_attn, head_dim }, head, row) {
  const from = row * dim_attn + head * head_dim;
  const query = kept(`blocks.${index}.q`).subarray(from, from + head_dim);
  const width = Math.max(200, canvas.clientWidth);
  const context = begin(canvas, width, STRIP);
  label(context, "its query", 0, STRIP - 5, ink().grey, 11);
  const strip = pixels(head_dim, 1, (i) => query[i], "signed", largest(query));
  context.drawImage(strip, WORDS, 4, width - WORDS, STRIP - 6);
  describe(canvas, `Its query, ${head_dim} numbers: ${[...query].map(decimal).join(", ")}`);
}

function tell(figure, canvas, block, all, [least, most]) {
  const rest = Math.max(0, 1 - all.reduce((a, b) => a + b, 0));
  const own = block.cls ? `, ${percent(rest)} to the class token` : "";
  const words = ` shares from ${percent(least)} to ${percent(most)}${own}`;
  say(figure.querySelector("span"), words);
  describe(canvas, figure.querySelector("strong").textContent + words);
}

function drawShare(context, box, share) {
  context.save();
  context.globalAlpha = 0.72 * share;
  context.fillStyle = ink().vit;
  context.fillRect(...box);
  context.restore();
  outline(context, ...box, "rgb(255 255 255 / .25)", 1);
}

function markToken(context, x, moment, count, size, high, block) {
  const [time, row, column] = placeOn(block.thw_q);
  const [t, h, w] = block.thw_q;
  if (Math.floor((time * count) / t) !== moment) return;
  const box = [x + (column * size) / w, 16 + (row * high) / h, size / w, high / h];
  outline(context, ...box, ink().card, 4);
  outline(context, ...box, ink().ours, 2.5);
}
