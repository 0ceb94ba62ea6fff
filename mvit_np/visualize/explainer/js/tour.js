// A tour of ten steps. They are a list in page.html: each names a panel, and controls to set.

import { byId, on, say } from "./dom.js";

const steps = () => [...byId("tour-steps").children];

let settled = () => {};
let at = -1;
let before = null; // what had the focus

/** Sets a control as a person would. */
function choose(id, value) {
  const control = byId(id);
  if (typeof value === "boolean") {
    if (control.checked === value) return;
    control.checked = value;
  } else if (control.localName === "select" && typeof value === "number") {
    control.selectedIndex = Math.min(value, control.options.length - 1);
  } else control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
}

function show(index) {
  document.querySelector(".card.shown")?.classList.remove("shown");
  at = index;
  const step = steps()[index];
  const settings = JSON.parse(step.dataset.set ?? "{}");
  for (const [id, value] of Object.entries(settings)) choose(id, value);
  if (step.dataset.set) settled();
  byId(step.dataset.panel).classList.add("shown");
  byId(step.dataset.panel).scrollIntoView({ block: "start" });
  say("tour-count", `Step ${index + 1} of ${steps().length}`);
  say("tour-title", step.querySelector("h3").textContent);
  say("tour-text", step.querySelector("p").textContent);
  say("tour-on", index === steps().length - 1 ? "Finish" : "Next");
  byId("tour-back").disabled = index === 0;
  byId("tour-title").focus({ preventScroll: true });
}

export function startTour() {
  if (at < 0) before = document.activeElement;
  byId("tour").hidden = false;
  show(0);
}

function endTour() {
  document.querySelector(".card.shown")?.classList.remove("shown");
  byId("tour").hidden = true;
  at = -1;
  before?.focus();
}

/** afterSettings: called when a step has set controls, so that one sees it on a paused page. */
export function buildTour(afterSettings) {
  settled = afterSettings;
  on("start-tour", "click", startTour);
  on("tour-back", "click", () => show(at - 1));
  on("tour-on", "click", () => (at === steps().length - 1 ? endTour() : show(at + 1)));
  on("tour-end", "click", endTour);
  on("tour", "keydown", (event) => event.key === "Escape" && endTour());
}
