// Scenes that the page draws itself: brightness in 0..1 at any place of a plane, which a camera
// passes.

import { generator } from "./params.js";

const PERIOD = 64; // pixels after which each scene begins again
const smooth = (x) => x * x * (3 - 2 * x);
const wrap = (x, n) => ((x % n) + n) % n;

/** A smooth random pattern of the plane, with features of about `size` pixels. */
function noisePattern(seed, size) {
  const n = PERIOD / size;
  const random = generator(seed);
  const table = Float32Array.from({ length: n * n }, random);
  return (x, y) => {
    const [u, v] = [wrap(x / size, n), wrap(y / size, n)];
    const [i, j] = [Math.floor(u) % n, Math.floor(v) % n];
    const [a, b] = [smooth(u - Math.floor(u)), smooth(v - Math.floor(v))];
    const at = (row, column) => table[(row % n) * n + (column % n)];
    const upper = at(j, i) + a * (at(j, i + 1) - at(j, i));
    const lower = at(j + 1, i) + a * (at(j + 1, i + 1) - at(j + 1, i));
    return upper + b * (lower - upper);
  };
}

function bars() {
  const width = [5, 9, 4, 7, 11, 6, 8, 5, 9]; // dark and bright in turn: 64 pixels in all
  const edges = width.map((_, i) => width.slice(0, i).reduce((a, b) => a + b, 0));
  const levels = [0.1, 0.9, 0.35, 0.7, 0.15, 1, 0.45, 0.8, 0.25];
  const bar = (x) => levels[edges.findLastIndex((edge) => edge <= x)];
  // Half a pixel of blur on each side, as a lens has it.
  return (x) =>
    (bar(wrap(x - 0.5, PERIOD)) + bar(wrap(x, PERIOD)) + bar(wrap(x + 0.5, PERIOD))) / 3;
}

function plane() {
  const [coarse, middle, fine] = [noisePattern(1, 16), noisePattern(2, 8), noisePattern(3, 4)];
  const sharp = (x) => smooth(Math.min(1, Math.max(0, 1.8 * x - 0.4)));
  return (x, y) => sharp(0.45 * coarse(x, y) + 0.35 * middle(x, y) + 0.2 * fine(x, y));
}

function blobs() {
  const random = generator(5);
  const spots = Array.from({ length: 14 }, () => [
    random() * PERIOD,
    random() * PERIOD,
    2 + 4 * random(),
    random() < 0.5 ? -0.45 : 0.45,
  ]);
  const near = (a, b) => wrap(a - b + PERIOD / 2, PERIOD) - PERIOD / 2;
  return (x, y) => {
    let sum = 0.5;
    for (const [a, b, r, level] of spots) {
      sum += level * Math.exp(-(near(x, a) ** 2 + near(y, b) ** 2) / (r * r));
    }
    return Math.min(1, Math.max(0, sum));
  };
}

// Houses with windows above, a pavement, parked cars: all of it passes, as when a camera turns.
function street() {
  const random = generator(8);
  const make = () => ({ wall: 0.35 + 0.5 * random(), roof: 2 + 6 * random(), step: 4 + random() });
  const houses = Array.from({ length: 4 }, make);
  const cars = [3, 24, 45].map((left) => ({ left, body: random() < 0.5 ? 0.15 : 0.85 }));
  const grain = noisePattern(9, 4);
  return (x, y) => {
    const [u, v] = [wrap(x, PERIOD), wrap(y, PERIOD) - 2];
    const ground = v < 23 ? 0.7 : 0.32; // pavement and road
    let level = v < 20 ? houseLevel(houses[Math.floor(u / 16)], u, v) : ground;
    for (const car of cars) level = carLevel(car, u, v) ?? level;
    return 0.85 * level + 0.15 * grain(x, y);
  };
}

function houseLevel({ wall, roof, step }, u, v) {
  if (v < roof) return 0.95; // the sky
  const beside = wrap(u, 16) > 2 && wrap(u, step) < 2;
  const inWindow = v >= roof + 2 && v < 18 && beside && wrap(v, 6) < 3;
  return inWindow ? 0.12 : wall;
}

function carLevel({ left, body }, u, v) {
  const along = u - left;
  const wheel = Math.min(Math.abs(along - 3), Math.abs(along - 10)) < 1.6;
  if (wheel && v >= 23 && v < 27) return 0.03;
  if (along >= 3 && along < 10 && v >= 16 && v < 19) return 0.2 + 0.3 * body;
  if (along >= 0 && along < 13 && v >= 19 && v < 25) return body;
  return undefined;
}

export const SCENES = { bars: bars(), plane: plane(), blobs: blobs(), street: street() };

/**
 * The frames of a clip that a camera sees passing over a scene, starting at frame `time`.
 *
 * options: direction (degrees, 0 is to the right, 90 up: where the picture's content goes), speed
 * (pixels a frame), angle (degrees that the pattern is turned), contrast and noise (0..1)
 */
export function filmed(scene, time, options, [frames, height, width], clip) {
  const { direction, speed, angle, contrast, noise } = options;
  const [right, down] = [Math.cos(radians(direction)), -Math.sin(radians(direction))];
  const [cosine, sine] = [Math.cos(radians(angle)), Math.sin(radians(angle))];
  let at = 0;
  for (let t = 0; t < frames; t++) {
    const far = speed * (time + t);
    const random = generator(7919 * (time + t) + 1); // a frame keeps its noise while it is in view
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const [a, b] = [x - right * far, y - down * far];
        const level = SCENES[scene](cosine * a - sine * b, sine * a + cosine * b);
        clip[at] = clamp(0.5 + contrast * (level - 0.5) + noise * (random() - 0.5));
      }
    }
  }
  return clip;
}

const radians = (degrees) => (degrees * Math.PI) / 180;
export const clamp = (x) => Math.min(1, Math.max(0, x));
