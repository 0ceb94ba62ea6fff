// The controls of what is filmed: scenes and their sliders, the reader's drawing, a file, a camera.

import { Drawing, Film, sceneSource } from "./sources.js";
import { SCENES } from "./scenes.js";
import { begin, pixels } from "./draw.js";
import { byId, describe, on, percent, say } from "./dom.js";
import { state } from "./state.js";

const SLIDERS = ["direction", "speed", "angle", "contrast", "noise"];
const ORDERS = ["shuffled", "reversed", "mirrored", "frozen"];
const STRIDE = 2; // pixels that a button or an arrow key moves the drawing
const ARROWS = { left: [-STRIDE, 0], right: [STRIDE, 0], up: [0, -STRIDE], down: [0, STRIDE] };
const NAMES = {
  0: "right",
  45: "up right",
  90: "up",
  135: "up left",
  180: "left",
  "-135": "down left",
  "-90": "down",
  "-45": "down right",
};

const thw = () => state.trained.plan.embed.thw_in;
let drawing = null;

function readSliders() {
  for (const id of SLIDERS) state.options[id] = Number(byId(id).value);
  const { direction, speed, angle, contrast, noise } = state.options;
  const texts = {
    direction: NAMES[direction] ?? `${direction}°`,
    speed: `${speed} px a frame`,
    angle: `${angle}°`,
    contrast: percent(contrast),
    noise: percent(noise),
  };
  for (const id of SLIDERS) {
    say(`${id}-value`, texts[id]);
    byId(id).setAttribute("aria-valuetext", texts[id]);
  }
}

function readOrder() {
  for (const id of ORDERS) state.order[id] = byId(id).checked;
  const name = orderName(state.order);
  say("verdict", document.querySelector(`[data-order="${name}"]`).textContent);
}

// The name, in page.html, of what the frames' order should do to the answer.
function orderName({ shuffled, reversed, mirrored, frozen }) {
  if (frozen) return "frozen";
  if (shuffled) return "shuffled";
  if (reversed && mirrored) return "both";
  return (reversed && "reversed") || (mirrored && "mirrored") || "none";
}

async function choose(redraw) {
  const kind = byId("source").value;
  state.source?.close?.();
  byId("drawing-tools").hidden = kind !== "drawing";
  byId("file-tools").hidden = kind !== "file";
  byId("sliders").hidden = kind === "file" || kind === "camera";
  say("source-note", "");
  if (kind in SCENES) state.source = sceneSource(kind, state.options, thw());
  else if (kind === "drawing") state.source = drawing ??= new Drawing(thw(), state.options);
  else state.source = new Film(thw(), byId("video"));
  state.history = [];
  if (kind === "camera") await openCamera();
  redraw();
}

async function openCamera() {
  try {
    byId("video").srcObject = await navigator.mediaDevices.getUserMedia({
      video: { width: 320, height: 240 },
    });
    await byId("video").play();
    say("source-note", byId("camera-on").textContent);
  } catch (problem) {
    say(
      "source-note",
      `No camera (${problem?.name}): allow it for this page, or choose a scene or a file.`,
    );
  }
}

async function openFile() {
  const [file] = byId("file").files;
  if (!file) return;
  const video = byId("video");
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
    say("source-note", "The file is shown small, grey and cut to a square.");
  } catch {
    say("source-note", "This browser cannot play that file: try an .mp4 or a .webm.");
  }
}

// -- the pad

export function drawPad() {
  if (byId("drawing-tools").hidden) return;
  const [, height, width] = thw();
  const frame = drawing.frame();
  const canvas = byId("pad");
  const side = Math.max(160, canvas.clientWidth);
  const context = begin(canvas, side, (side * height) / width);
  context.drawImage(
    pixels(width, height, (i) => frame[i], "grey"),
    0,
    0,
    side,
    (side * height) / width,
  );
  describe(
    canvas,
    `Your drawing, moved by ${drawing.place.map(Math.round).join(" to the right and ")} down`,
  );
}

function buildPad(redraw) {
  const pad = byId("pad");
  const unit = () => thw()[2] / pad.clientWidth;
  const paints = () => byId("pad-mode").value === "paint";
  const paint = (event) =>
    drawing.stamp(
      event.offsetX * unit() - drawing.place[0],
      event.offsetY * unit() - drawing.place[1],
      2,
    );
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    drawing.held = true;
    if (paints()) paint(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!drawing?.held) return;
    if (paints()) paint(event);
    else drawing.move(event.movementX * unit(), event.movementY * unit());
  });
  for (const kind of ["pointerup", "pointercancel"])
    pad.addEventListener(kind, () => (drawing.held = false));
  for (const [side, step] of Object.entries(ARROWS)) {
    on(`pad-${side}`, "click", () => (drawing.move(...step), redraw()));
  }
  const anywhere = () => [
    Math.random() * thw()[2],
    Math.random() * thw()[1],
    2 + 3 * Math.random(),
  ];
  on("pad-stamp", "click", () => (drawing.stamp(...anywhere()), redraw()));
  on("pad-clear", "click", () => (drawing.clear(), redraw()));
}

export function buildInput(redraw) {
  for (const id of SLIDERS) on(id, "input", () => (readSliders(), redraw()));
  for (const id of ORDERS) on(id, "input", () => (readOrder(), (state.history = []), redraw()));
  on("source", "input", () => choose(redraw));
  on("file", "change", openFile);
  buildPad(redraw);
  readSliders();
  readOrder();
  choose(() => {});
}
