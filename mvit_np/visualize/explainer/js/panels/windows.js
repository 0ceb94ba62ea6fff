// The pooling windows of the chosen block: what a query, a key and a value are made of.

import { byId, describe, on, say, times, whole } from "../dom.js";
import { begin, gridLines, ink, label, largest, outline, pixels } from "../draw.js";
import { chooseOn, chosenBlock, classChosen, kept, placeOn } from "../state.js";
import { product } from "../plan.js";

const GAP = 14;
const TOP = 18;

// How large a cell is, and where the grid of each moment begins.
function layout(canvas, block) {
  const [t, h, w] = block.thw;
  const width = Math.max(240, canvas.clientWidth);
  const columns = width > 560 ? Math.min(t, 8) : Math.min(t, 2);
  const size = Math.min(34, (width - 2 - GAP * (columns - 1)) / (columns * w));
  const high = h * size + TOP + 10;
  const corner = (moment) => [
    (moment % columns) * (w * size + GAP) + 1,
    TOP + Math.floor(moment / columns) * high,
  ];
  return { width, height: Math.ceil(t / columns) * high, size, corner };
}

/** A click on a cell chooses its token. */
export function buildWindows(redraw) {
  on("windows", "click", ({ offsetX, offsetY }) => {
    const block = chosenBlock();
    const [t, h, w] = block.thw;
    const { size, corner } = layout(byId("windows"), block);
    for (let moment = 0; moment < t; moment++) {
      const [x, y] = corner(moment);
      const [row, column] = [Math.floor((offsetY - y) / size), Math.floor((offsetX - x) / size)];
      if (row < 0 || row >= h || column < 0 || column >= w) continue;
      chooseOn(block.thw, [moment, row, column]);
      redraw();
    }
  });
}

export function drawWindows() {
  const [canvas, block] = [byId("windows"), chosenBlock()];
  const { width, height, size, corner } = layout(canvas, block);
  const context = begin(canvas, width, height);
  const marks = chosenMarks(block);
  for (let moment = 0; moment < block.thw[0]; moment++) {
    drawMoment(context, ...corner(moment), moment, size, block, marks);
  }
  tell(canvas, block);
}

// Where the chosen query and key lie on their grids.
function chosenMarks(block) {
  const [, h, w] = block.thw_kv;
  const key = byId("key");
  const count = product(block.thw_kv);
  key.max = count - 1;
  const index = Math.min(Number(key.value), count - 1);
  say("key-value", `${index + 1} of ${count}`);
  return {
    query: placeOn(block.thw_q),
    key: [Math.floor(index / (h * w)), Math.floor(index / w) % h, index % w],
  };
}

function drawMoment(context, x, y, moment, size, block, { query, key }) {
  const [, h, w] = block.thw;
  const tokens = kept(`blocks.${block.index}.norm1`);
  const row = (i) => (block.cls + moment * h * w + i) * block.dim_in;
  const active = (i) => Math.abs(tokens[row(i)]);
  label(context, `time ${moment + 1}`, x, y - 5);
  context.drawImage(pixels(w, h, active, "heat", 3 * largest(tokens)), x, y, w * size, h * size);
  gridLines(context, x, y, w, h, size, ink().pale);
  if (!classChosen())
    drawWindow(context, x, y, moment, size, block, block.pool_q, query, ink().ours);
  drawWindow(context, x, y, moment, size, block, block.pool_kv, key, ink().vit);
}

// The cells of this moment that a window meets; without a pool it is one cell.
function drawWindow(context, x, y, moment, size, block, pool, at, style) {
  const { kernel, stride, padding } = pool ?? {
    kernel: [1, 1, 1],
    stride: [1, 1, 1],
    padding: [0, 0, 0],
  };
  const edges = at.map((n, i) => [
    n * stride[i] - padding[i],
    n * stride[i] - padding[i] + kernel[i],
  ]);
  if (moment < edges[0][0] || moment >= edges[0][1]) return;
  const inside = ([from, to], n) => [Math.max(0, from), Math.min(n, to)];
  const [[top, bottom], [left, right]] = [
    inside(edges[1], block.thw[1]),
    inside(edges[2], block.thw[2]),
  ];
  const box = [
    x + left * size + 2,
    y + top * size + 2,
    (right - left) * size - 4,
    (bottom - top) * size - 4,
  ];
  context.save();
  context.globalAlpha = 0.22;
  context.fillStyle = style;
  context.fillRect(...box);
  context.restore();
  outline(context, ...box, style, 3);
}

function tell(canvas, block) {
  const { heads, tokens_q, tokens_kv } = block;
  const scores = `${heads} × ${tokens_q} × ${tokens_kv} = ${whole(heads * tokens_q * tokens_kv)}`;
  const queries = poolWords(block.pool_q, "Queries");
  const keys = poolWords(block.pool_kv, "Keys and values");
  const text = `${queries}. ${keys}. Scores in this block: ${scores}.`;
  say("windows-caption", text);
  describe(canvas, text);
}

function poolWords(pool, what) {
  if (!pool) return `${what}: not pooled`;
  const windows = `windows of ${times(pool.kernel)}, a step of ${times(pool.stride)}`;
  return `${what}: ${windows}, so ${times(pool.thw_in)} tokens become ${times(pool.thw_out)}`;
}
