// Starts the page, and runs it: frames in, a forward pass, every panel drawn.

import { REMEMBERED, answerWords, bestClass, buildScores, drawScores } from "./panels/scores.js";
import { arranged, coloured, frameOrder, normalised, trueClass } from "./clips.js";
import { buildBill, drawBill, milliseconds } from "./panels/bill.js";
import { buildFrames, drawFrames } from "./panels/frames.js";
import { buildInput, drawPad } from "./input.js";
import { buildSteps, drawSteps, move } from "./panels/steps.js";
import { buildTour, startTour } from "./tour.js";
import { byId, fill, on, say } from "./dom.js";
import { choosePlace, classChosen, state } from "./state.js";
import { classShares, drawAttention } from "./panels/attention.js";
import { decode, generator } from "./params.js";
import { buildStages, drawStages } from "./panels/stages.js";
import { buildWindows, drawWindows } from "./panels/windows.js";
import { forward, makeModel } from "./model.js";
import { lastBlocks, macs, plan, vitBeside, changed } from "./plan.js";
import { readColours } from "./draw.js";
import { softmax } from "./ops.js";

const PACE = 110; // milliseconds a frame of a scene
const SOON = 400; // milliseconds until the first bill is made
const random = generator(11); // of the orders in which frames are shuffled

const pace = () => (state.source.live ? (state.about.tau / 30) * 1000 : PACE);

/** The model's answer to what is in view now. */
function answer() {
  const { model, about, order } = state;
  const { thw_in, channels } = model.plan.embed;
  const seen = state.source.clip(state.time);
  state.clip = arranged(seen, frameOrder(thw_in[0], order, random), order.mirrored, thw_in);
  const logits = forward(model, normalised(coloured(state.clip, channels), about.normalise));
  state.scores = [...softmax(logits, logits.length, new Float32Array(logits.length))];
}

function remember() {
  const { about, options, order, source, scores } = state;
  const known = !source.live && !source.held && state.model === state.trained;
  const truth = known ? trueClass(about.classes, options, order) : null;
  state.history.push([scores, truth && truth === about.classes[bestClass()]]);
  state.history = state.history.slice(-REMEMBERED);
}

function drawAll() {
  fillBlocks();
  const { thw } = state.model.plan.embed;
  ["t", "h", "w"].forEach((axis, i) => (byId(`token-${axis}`).max = thw[i]));
  for (const axis of ["t", "h", "w"]) byId(`token-${axis}`).disabled = classChosen();
  for (const draw of [
    drawPad,
    drawFrames,
    drawScores,
    drawStages,
    drawWindows,
    drawAttention,
    drawSteps,
  ])
    draw();
}

function fillBlocks() {
  const words = ({ index, stage }) => [
    index,
    `${index + 1} of ${state.model.plan.blocks.length}, stage ${stage + 1}`,
  ];
  fill(byId("block"), state.model.plan.blocks.map(words));
}

/** Answers and draws again without letting time pass. */
function redraw() {
  answer();
  drawAll();
  if (!state.playing) tell();
}

function advance() {
  later();
  drawAll();
}

// A frame later: an answer that nothing has been drawn of yet.
function later() {
  state.time += 1;
  answer();
  remember();
}

// What a few seconds would show, at once: for who has paused the page.
function catchUp() {
  if (state.playing) return;
  for (let i = 0; i < REMEMBERED / 2; i++) later();
  redraw();
}

// For screen readers: the answer, when it does not change every moment.
const tell = () => say("spoken", `The answer: ${answerWords()}`);

let due = 0;
function tick(now) {
  if (state.playing && now >= due && !document.hidden) {
    due = now + pace();
    advance();
  }
  requestAnimationFrame(tick);
}

function play(playing) {
  state.playing = playing;
  say("play", playing ? "Pause" : "Play");
  if (!playing) tell();
}

function nextFrame() {
  play(false);
  advance();
  tell();
}

function buildKeys() {
  const actions = {
    p: () => play(!state.playing),
    n: nextFrame,
    ".": () => move(1),
    ",": () => move(-1),
    t: startTour,
    "?": () => byId("help").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=number], select, input[type=file]");
    const action = actions[event.key];
    if (
      !action ||
      typing ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      !byId("keys-on").checked
    )
      return;
    if (!byId("help").open) action();
  });
}

// On the site notebooks are pages; beside the sources they are notebooks.
function linkNotebooks() {
  const [folder, ending] =
    location.protocol === "file:" ? ["../notebooks", "ipynb"] : ["notebooks", "html"];
  for (const link of document.querySelectorAll("a[data-notebook]")) {
    link.target = "_top"; // the page may stand in a frame of another
    link.href = `${folder}/${link.dataset.notebook}.${ending}`;
  }
}

function start() {
  const about = (state.about = JSON.parse(byId("about").textContent));
  state.model = state.trained = makeModel(
    about.config,
    decode(byId("weights").textContent, about.arrays),
  );
  say("model-note", about.note || "Nobody has said how this model was trained.");
  const { thw } = state.model.plan.embed;
  choosePlace(thw.map((n) => Math.floor(n / 2)));
  byId("token-cls").parentElement.hidden = !about.config.cls_token;
  readColours();
  linkNotebooks();
  fillBlocks();
  const pooling = state.model.plan.blocks.findIndex((block) => block.pool_q);
  byId("block").selectedIndex = Math.max(0, pooling);
  buildInput(redraw);
  buildScores();
  buildFrames(redraw);
  buildStages(redraw);
  buildWindows(redraw);
  buildSteps(redraw);
  buildBill(() => {
    state.history = [];
    redraw();
  });
  buildTour(catchUp);
  buildKeys();
  for (const id of ["block", "token-t", "token-h", "token-w", "token-cls", "key"])
    on(id, "input", redraw);
  on("play", "click", () => play(!state.playing));
  on("next-frame", "click", nextFrame);
  on("open-help", "click", () => byId("help").showModal());
  on("close-help", "click", () => byId("help").close());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    redraw();
  });
  addEventListener("resize", drawAll);
  advance();
  setTimeout(() => drawBill(), SOON); // it runs the models some times to measure them
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) play(false);
  requestAnimationFrame(tick);
}

start();

// For tests, and for whoever opens the console.
window.mvit = {
  state,
  forward,
  plan,
  macs,
  lastBlocks,
  classShares,
  changed,
  vitBeside,
  milliseconds,
  later,
};
