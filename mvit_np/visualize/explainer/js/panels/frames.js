// The frames, the cubes they are cut into, and the cube of the chosen token.

import { byId, describe, on, say, times } from "../dom.js";
import { begin, framePicture, gridLines, ink, label, outline } from "../draw.js";
import { choosePlace, chosenPlace, classChosen, state } from "../state.js";

const GAP = 10;
const TOP = 18;

// So many frames in a row, and how large each is drawn.
function layout(canvas) {
  const width = Math.max(240, canvas.clientWidth);
  const { frames } = state.model.config;
  const columns = Math.min(frames, width > 560 ? 4 : 2 + (width > 300) * 2);
  const size = (width - GAP * (columns - 1)) / columns;
  const [, h, w] = state.model.plan.embed.thw_in;
  const high = (size * h) / w;
  const rows = Math.ceil(frames / columns);
  return { width, columns, size, high, height: rows * (high + TOP + 6) };
}

const corner = (t, { columns, size, high }) => [
  (t % columns) * (size + GAP),
  TOP + Math.floor(t / columns) * (high + TOP + 6),
];

export function buildFrames(redraw) {
  on("frames", "click", (event) => {
    const sizes = layout(byId("frames"));
    const { embed } = state.model.plan;
    for (let t = 0; t < state.model.config.frames; t++) {
      const [x, y] = corner(t, sizes);
      const [right, down] = [(event.offsetX - x) / sizes.size, (event.offsetY - y) / sizes.high];
      if (right < 0 || right >= 1 || down < 0 || down >= 1) continue;
      const time = Math.min(embed.thw[0] - 1, Math.floor(t / embed.stride[0]));
      choosePlace([time, Math.floor(down * embed.thw[1]), Math.floor(right * embed.thw[2])]);
      redraw();
    }
  });
}

export function drawFrames() {
  const canvas = byId("frames");
  const sizes = layout(canvas);
  const context = begin(canvas, sizes.width, sizes.height);
  const { embed } = state.model.plan;
  const unit = sizes.size / embed.thw_in[2];
  for (let t = 0; t < state.model.config.frames; t++) {
    const [x, y] = corner(t, sizes);
    label(context, `frame ${t + 1}`, x, y - 5);
    context.drawImage(framePicture(state.clip, t, embed.thw_in), x, y, sizes.size, sizes.high);
    gridLines(
      context,
      x,
      y,
      embed.thw[2],
      embed.thw[1],
      unit * embed.stride[2],
      "rgb(255 255 255 / .22)",
    );
    if (!classChosen()) drawCube(context, x, y, t, unit, embed);
  }
  tell(canvas, embed);
}

function tell(canvas, embed) {
  const size = `${times(embed.kernel)} (frames, rows and columns of pixels)`;
  const cells = `${times(embed.thw)} cubes of ${size}, one every ${times(embed.stride)}`;
  const [t, h, w] = chosenPlace().map((n) => n + 1);
  const place = `Chosen: time ${t}, row ${h}, column ${w}`;
  say("frames-caption", `${cells}. ${classChosen() ? "The class token has no place" : place}.`);
  describe(canvas, `The ${state.model.config.frames} frames that the model sees: ${cells}`);
}

function drawCube(context, x, y, t, unit, embed) {
  const at = chosenPlace();
  const first = at.map((n, i) => n * embed.stride[i] - embed.padding[i]);
  if (t < first[0] || t >= first[0] + embed.kernel[0]) return;
  const edge = (axis) => [
    Math.max(0, first[axis]),
    Math.min(embed.thw_in[axis], first[axis] + embed.kernel[axis]),
  ];
  const [[top, bottom], [left, right]] = [edge(1), edge(2)];
  const box = [x + left * unit, y + top * unit, (right - left) * unit, (bottom - top) * unit];
  outline(context, ...box, "rgb(0 0 0 / .55)", 5);
  outline(context, ...box, ink().vit, 3);
}
