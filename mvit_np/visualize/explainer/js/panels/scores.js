// The scores of the classes as bars, their history, and how often the answer was right.

import { byId, describe, element, percent, say } from "../dom.js";
import { begin, ink, label } from "../draw.js";
import { state } from "../state.js";

export const REMEMBERED = 60;
const HEIGHT = 130;

// Two classes have the page's two colours; of more, each has a hue of its own.
function toneOf(index) {
  const { length } = state.about.classes;
  if (length <= 2) return [ink().ours, ink().vit][index];
  return `oklch(0.62 0.15 ${Math.round((360 * index) / length)})`;
}

export function buildScores() {
  const rows = state.about.classes.map((name) =>
    element(
      "div",
      { className: "score" },
      element("span", { textContent: name }),
      element("div", { className: "track" }, element("div", { className: "fill" })),
      element("span", { className: "value" }),
    ),
  );
  byId("scores").replaceChildren(...rows);
}

export const bestClass = () => state.scores.indexOf(Math.max(...state.scores));

/** The answer in words. */
export function answerWords() {
  const best = bestClass();
  return `${state.about.classes[best]}, ${percent(state.scores[best])}`;
}

export function drawScores() {
  const best = bestClass();
  [...byId("scores").children].forEach((row, i) => {
    row.classList.toggle("best", i === best);
    const fill = row.querySelector(".fill");
    fill.style.width = `${100 * state.scores[i]}%`;
    fill.style.setProperty("--tone", toneOf(i));
    row.querySelector(".value").textContent = percent(state.scores[i]);
  });
  say("short-answer", `Answer: ${answerWords()}`);
  drawHistory();
  say("tally", tally());
}

function tally() {
  const judged = state.history.filter(([, right]) => right !== null);
  const { length } = state.about.classes;
  const chance = `${length === 2 ? "A coin gets" : "Guessing gets"} ${percent(1 / length)}.`;
  if (!state.history.length) return "No answer has been counted yet.";
  if (!judged.length) return "The page does not know the true direction here: it counts nothing.";
  const right = judged.filter(([, isRight]) => isRight).length;
  return `${right} of the last ${judged.length} answers are right. ${chance}`;
}

function drawHistory() {
  const canvas = byId("history");
  const width = Math.max(160, canvas.clientWidth);
  const context = begin(canvas, width, HEIGHT);
  const step = (width - 8) / (REMEMBERED - 1);
  const high = (share) => 6 + (1 - share) * (HEIGHT - 12);
  context.strokeStyle = ink().pale;
  context.beginPath();
  context.moveTo(0, high(0.5));
  context.lineTo(width, high(0.5));
  context.stroke();
  label(context, "50 %", 4, high(0.5) - 3, ink().grey, 11);
  state.about.classes.forEach((name, i) => {
    context.strokeStyle = toneOf(i);
    context.lineWidth = 2;
    context.beginPath();
    const first = REMEMBERED - state.history.length;
    state.history.forEach(([scores], at) =>
      context.lineTo(4 + (first + at) * step, high(scores[i])),
    );
    context.stroke();
  });
  describe(canvas, `The last ${state.history.length} answers; now ${answerWords()}`);
}
