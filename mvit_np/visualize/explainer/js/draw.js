// What the panels draw with: canvases that fit the screen, colours for numbers, small pictures.

const STEPS = 255;

/** A colour of the page's style, such as colour("ours"). */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

let colours = {};
/** Reads the colours of the style again: after light became dark. */
export function readColours() {
  const names = ["ink", "grey", "pale", "card", "ours", "vit", "page"];
  colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  tables.signed = ramp([colours.ours, colours.card, colours.vit]);
  tables.heat = ramp([colours.card, colours.vit]);
}
export const ink = () => colours;

const tables = {};

// A table of colours between some: a canvas knows how to read them.
function ramp(stops) {
  const canvas = new OffscreenCanvas(STEPS, 1);
  const context = canvas.getContext("2d");
  const gradient = context.createLinearGradient(0, 0, STEPS, 0);
  stops.forEach((stop, i) => gradient.addColorStop(i / (stops.length - 1), stop));
  context.fillStyle = gradient;
  context.fillRect(0, 0, STEPS, 1);
  return context.getImageData(0, 0, STEPS, 1).data;
}

/** The context of a canvas of so many CSS pixels, sharp on any screen and empty. */
export function begin(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    [canvas.width, canvas.height] = [w, h];
    canvas.style.aspectRatio = `${width} / ${height}`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  return context;
}

/**
 * A picture of numbers, a pixel each; at(i) is number i.
 * table: "signed" (from -limit to limit), "heat" (from 0 to limit) or "grey" (from 0 to 1)
 */
export function pixels(width, height, at, table, limit = 1) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const share = table === "signed" ? 0.5 + at(i) / (2 * limit) : at(i) / limit;
    const step = Math.round((STEPS - 1) * Math.min(1, Math.max(0, share)));
    if (table === "grey") image.data.fill(step, 4 * i, 4 * i + 3);
    else for (let c = 0; c < 3; c++) image.data[4 * i + c] = tables[table][4 * step + c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The largest magnitude, or a little where all is 0. */
export function largest(array) {
  let most = 1e-6;
  for (const x of array) most = Math.max(most, Math.abs(x));
  return most;
}

/** A frame of a grey clip (T, H, W). */
export function framePicture(clip, t, [, height, width]) {
  const from = t * height * width;
  return pixels(width, height, (i) => clip[from + i], "grey");
}

/** Lines between the cells of a grid. */
export function gridLines(context, x, y, columns, rows, size, style) {
  context.strokeStyle = style;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 0; i <= columns; i++)
    (context.moveTo(x + i * size, y), context.lineTo(x + i * size, y + rows * size));
  for (let j = 0; j <= rows; j++)
    (context.moveTo(x, y + j * size), context.lineTo(x + columns * size, y + j * size));
  context.stroke();
}

/** An outline of a cell or a window. */
export function outline(context, x, y, width, height, style, line = 2.5, dash = []) {
  context.save();
  context.strokeStyle = style;
  context.lineWidth = line;
  context.setLineDash(dash);
  context.strokeRect(x, y, width, height);
  context.restore();
}

export function label(context, text, x, y, style = colours.grey, size = 12, align = "left") {
  context.fillStyle = style;
  context.font = `${size}px system-ui, sans-serif`;
  context.textAlign = align;
  context.fillText(text, x, y);
}
