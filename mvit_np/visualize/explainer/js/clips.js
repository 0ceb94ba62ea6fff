// From what is in view to what the model gets: colours, the order of frames, normalisation.

/** Grey (T, H, W) as a clip of so many channels. */
export function coloured(grey, channels) {
  if (channels === 1) return grey;
  return Float32Array.from(
    { length: grey.length * channels },
    (_, i) => grey[Math.floor(i / channels)],
  );
}

/** The order in which frames are shown: numbers of frames. */
export function frameOrder(count, { shuffled, reversed, frozen }, random) {
  let order = Array.from({ length: count }, (_, i) => i);
  if (reversed) order.reverse();
  if (shuffled) order = permuted(order, random);
  return frozen ? order.map(() => order[Math.floor(count / 2)]) : order;
}

function permuted(list, random) {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

/** A new clip with frames in that order, each mirrored or not.   (T, H, W) -> (T, H, W) */
export function arranged(clip, order, mirrored, [, height, width]) {
  const frame = height * width;
  const result = new Float32Array(clip.length);
  order.forEach((from, to) =>
    result.set(clip.subarray(from * frame, (from + 1) * frame), to * frame),
  );
  if (mirrored)
    for (let row = 0; row < result.length; row += width)
      result.subarray(row, row + width).reverse();
  return result;
}

/**
 * Pixels as the model was trained on them.
 *
 * how: "clip", which is mean 0 and deviation 1 over all, or [mean, deviation]
 */
export function normalised(clip, how) {
  if (how !== "clip") return scaled(clip, how);
  const mean = clip.reduce((a, b) => a + b, 0) / clip.length;
  const variance = clip.reduce((a, b) => a + (b - mean) ** 2, 0) / clip.length;
  const deviation = Math.sqrt(variance) || 1; // of a clip that is one grey
  return clip.map((x) => (x - mean) / deviation);
}

function scaled(clip, [mean, deviation]) {
  const at = (level, i) => (Array.isArray(level) ? level[i % level.length] : level);
  return clip.map((x, i) => (x - at(mean, i)) / at(deviation, i));
}

const WAYS = {
  left: [-1, 0],
  right: [1, 0],
  up: [0, -1],
  down: [0, 1],
  "up left": [-1, -1],
  "up right": [1, -1],
  "down left": [-1, 1],
  "down right": [1, 1],
};

/** The class that says where the content of a picture goes, or null where no class does. */
export function trueClass(classes, { direction, speed }, { mirrored, reversed, frozen }) {
  if (!speed || frozen) return null;
  const angle = (direction * Math.PI) / 180;
  const turn = reversed ? -1 : 1;
  const [x, y] = [turn * (mirrored ? -1 : 1) * Math.cos(angle), -turn * Math.sin(angle)];
  const fits = ([a, b]) => (a * x + b * y) / Math.hypot(a, b);
  const known = classes.filter((name) => WAYS[name]);
  const best = known.reduce((a, b) => (a && fits(WAYS[a]) >= fits(WAYS[b]) ? a : b), null);
  return best && fits(WAYS[best]) > 0.7 ? best : null;
}
