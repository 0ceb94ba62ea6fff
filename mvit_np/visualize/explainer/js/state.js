// What the page knows at this moment. `tick` in main.js writes it, panels read it.

import { byId } from "./dom.js";

export const state = {
  about: null, // what Python wrote: config, classes, how clips are normalised, lines of ops
  model: null, // the one that runs
  trained: null, // the one that came with the page
  time: 0, // frames since the start
  playing: true,
  source: null,
  options: {}, // the sliders
  order: {}, // what is done with the frames
  clip: null, // grey (T, H, W) in 0..1, as arranged
  scores: [], // shares of the classes
  history: [], // [scores, whether right or null], the newest last
  milliseconds: 0, // of a forward pass, the middle one of the last
};

/** The sizes of the block that is looked at. */
export function chosenBlock() {
  const { blocks } = state.model.plan;
  return blocks[Math.min(byId("block").selectedIndex, blocks.length - 1)] ?? blocks[0];
}

/** Whether the class token is looked at. */
export const classChosen = () => state.model.config.cls_token && byId("token-cls").checked;

/** The chosen place (t, h, w) in the grid of the embedding. */
export function chosenPlace() {
  const { thw } = state.model.plan.embed;
  return ["t", "h", "w"].map(
    (axis, i) => Math.min(thw[i], Math.max(1, Number(byId(`token-${axis}`).value) || 1)) - 1,
  );
}

/** Looks at the token at (t, h, w) of the embedding's grid. */
export function choosePlace(at) {
  ["t", "h", "w"].forEach((axis, i) => (byId(`token-${axis}`).value = at[i] + 1));
  byId("token-cls").checked = false;
}

/** Looks at the token that lies at (t, h, w) of a coarser grid. */
export function chooseOn(grid, at) {
  const { thw } = state.model.plan.embed;
  choosePlace(at.map((n, i) => Math.floor(((n + 0.5) * thw[i]) / grid[i])));
}

/** Where the chosen place lies in a coarser grid. */
export function placeOn(grid) {
  const { thw } = state.model.plan.embed;
  return chosenPlace().map((n, i) => Math.min(grid[i] - 1, Math.floor((n * grid[i]) / thw[i])));
}

/** The row of the chosen token among the tokens of a grid, the class token being the first. */
export function rowOn(grid) {
  const cls = Number(state.model.config.cls_token);
  if (classChosen()) return 0;
  const [t, h, w] = placeOn(grid);
  return cls + (t * grid[1] + h) * grid[2] + w;
}

/** An array of the last pass, by its name. */
export const kept = (name) => state.model.space.get(name).data;

/** The frame in the middle of what a moment of a grid sees. */
export function frameOf(t, count) {
  const frames = state.model.config.frames;
  return Math.min(frames - 1, Math.floor(((t + 0.5) * frames) / count));
}

/** The chosen token in words. */
export function tokenWords() {
  if (classChosen()) return "the class token";
  const [t, h, w] = chosenPlace().map((n) => n + 1);
  return `the token at time ${t}, row ${h}, column ${w}`;
}
