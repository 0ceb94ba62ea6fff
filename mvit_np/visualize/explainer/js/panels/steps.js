// Step through one block: the numbers of the chosen token, the shapes, the Python of the op.

import { byId, decimal, describe, element, on, say } from "../dom.js";
import { begin, ink, label, largest, pixels } from "../draw.js";
import { blockSteps } from "../block_steps.js";
import { chosenBlock, classChosen, placeOn, rowOn, state, tokenWords } from "../state.js";

const ROW = 24; // CSS pixels of a strip
const TITLE = 17;
const WRITTEN = 8; // numbers

export function buildSteps(redraw) {
  on("step-list", "input", redraw);
  on("step-back", "click", () => move(-1));
  on("step-on", "click", () => move(1));
}

const choices = () => [...byId("step-list").querySelectorAll("input")];
const chosen = () =>
  Math.max(
    0,
    choices().findIndex((input) => input.checked),
  );

/** Goes some steps forwards or backwards; at the end it stays. */
export function move(by) {
  const inputs = choices();
  const input = inputs[Math.min(inputs.length - 1, Math.max(0, chosen() + by))];
  input.checked = true;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

// The rows of the chosen token in the block's input and among its queries.
function rowsOf(block) {
  const query = rowOn(block.thw_q);
  if (classChosen()) return { input: 0, query };
  const stride = block.pool_q ? block.pool_q.stride : [1, 1, 1];
  const [t, h, w] = placeOn(block.thw_q).map((n, i) => n * stride[i]); // the middle of the window
  return { input: block.cls + (t * block.thw[1] + h) * block.thw[2] + w, query };
}

export function drawSteps() {
  const block = chosenBlock();
  const steps = blockSteps(block, rowsOf(block), state.model.config.residual_pooling);
  list(steps);
  const at = chosen();
  const step = steps[at];
  say("step-text", textOf(step));
  say("step-shape", step.shape);
  byId("step-back").disabled = at === 0;
  byId("step-on").disabled = at === steps.length - 1;
  drawStrips(step.strips);
  tell(step, at, steps.length, block);
}

function tell(step, at, count, block) {
  const [title, numbers] = step.strips.at(-1);
  const first = [...numbers.subarray(0, WRITTEN)].map(decimal).join(", ");
  const more = numbers.length > WRITTEN ? ", …" : "";
  say("step-numbers", `${title}, ${numbers.length} numbers: ${first}${more}`);
  const where = `Step ${at + 1} of ${count}, ${step.name}, in block ${block.index + 1}`;
  describe(byId("step-canvas"), `${where}: the numbers of ${tokenWords()}`);
  const ops = step.ops.join(" and ");
  const origin = `The plain definition of ${ops}, from mvit_np/ops:`;
  say("step-file", ops ? origin : "No op: the tokens go on as they are.");
  const code = step.ops.map((op) => `# ${op}\n${state.about.lines[op]}`);
  say("step-code", code.join("\n\n") || "q = q_hat");
}

// What page.html says about a step.
function textOf({ name, text = name }) {
  return document.querySelector(`[data-step="${text}"]`).textContent;
}

function list(steps) {
  const inputs = choices();
  if (inputs.length === steps.length) return;
  steps.forEach(({ name }, i) => {
    const input = element("input", {
      type: "radio",
      name: "step",
      value: String(i),
      checked: i === 0,
    });
    byId("step-list").append(element("label", {}, input, `${i + 1} ${name}`));
  });
}

function drawStrips(strips) {
  const canvas = byId("step-canvas");
  const width = Math.max(200, canvas.clientWidth);
  const context = begin(canvas, width, strips.length * (ROW + TITLE + 4));
  strips.forEach(([title, numbers, kind], i) => {
    const y = i * (ROW + TITLE + 4) + TITLE;
    const limit = largest(numbers);
    const range = `${kind === "heat" ? 0 : decimal(-limit)} to ${decimal(limit)}`;
    label(context, `${title}: ${numbers.length} numbers, ${range}`, 0, y - 5);
    context.drawImage(
      pixels(numbers.length, 1, (at) => numbers[at], kind, limit),
      0,
      y,
      width,
      ROW,
    );
    context.strokeStyle = ink().pale;
    context.strokeRect(0.5, y + 0.5, width - 1, ROW - 1);
  });
}
