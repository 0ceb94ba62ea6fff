// Where frames come from. A source has clip(time): the last frames in view, grey (T, H, W) in 0..1.

import { filmed } from "./scenes.js";

/** A scene that the page draws: each clip is made anew, so that a slider acts at once. */
export function sceneSource(name, options, thw) {
  const clip = new Float32Array(thw[0] * thw[1] * thw[2]);
  return { clip: (time) => filmed(name, time, options, thw, clip), live: false };
}

/** Frames that come in one by one; the newest is last. */
class Ring {
  constructor([frames, height, width]) {
    this.frame = height * width;
    this.clip = new Float32Array(frames * this.frame).fill(0.5);
    this.empty = true;
  }

  push(frame) {
    if (this.empty)
      for (let at = 0; at < this.clip.length; at += this.frame) this.clip.set(frame, at);
    this.empty = false;
    this.clip.copyWithin(0, this.frame);
    this.clip.set(frame, this.clip.length - this.frame);
    return this.clip;
  }
}

/** The reader's own drawing, which moves by itself, or with pointer and arrow keys. */
export class Drawing {
  live = false;
  place = [0, 0]; // pixels to the right and down
  held = false;

  constructor(thw, options) {
    [this.thw, this.options, this.ring] = [thw, options, new Ring(thw)];
    this.ink = new Float32Array(thw[1] * thw[2]);
    this.stamp(thw[2] / 2, thw[1] / 2, 4.5);
  }

  /** A soft round blob at (x, y). */
  stamp(x, y, radius) {
    const [, height, width] = this.thw;
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++) {
        const near = Math.exp(-((((i - x) ** 2 + (j - y) ** 2) / radius ** 2) ** 2));
        this.ink[j * width + i] = Math.max(this.ink[j * width + i], near);
      }
    }
  }

  clear() {
    this.ink.fill(0);
    this.place = [0, 0];
  }

  move(right, down) {
    this.place = [this.place[0] + right, this.place[1] + down];
  }

  frame() {
    const [, height, width] = this.thw;
    const { contrast, noise } = this.options;
    const wrap = (x, n) => ((Math.round(x) % n) + n) % n;
    const [right, down] = [wrap(this.place[0], width), wrap(this.place[1], height)];
    const frame = new Float32Array(height * width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const ink = this.ink[wrap(y - down, height) * width + wrap(x - right, width)];
        frame[y * width + x] = 0.2 + 0.8 * contrast * ink + noise * (Math.random() - 0.5);
      }
    }
    return frame;
  }

  clip(time) {
    if (time !== this.time && !this.held) {
      const angle = (this.options.direction * Math.PI) / 180;
      this.move(this.options.speed * Math.cos(angle), -this.options.speed * Math.sin(angle));
    }
    if (time !== this.time) this.ring.push(this.frame());
    this.time = time;
    return this.ring.clip;
  }
}

/** A film or the camera, by a <video> element: the middle of it, cut to the clip's shape. */
export class Film {
  live = true;

  constructor(thw, video) {
    [this.thw, this.video, this.ring] = [thw, video, new Ring(thw)];
    this.canvas = document.createElement("canvas");
    [this.canvas.height, this.canvas.width] = [thw[1], thw[2]];
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  clip(time) {
    if (time !== this.time && this.video.readyState >= 2) this.ring.push(this.frame());
    this.time = time;
    return this.ring.clip;
  }

  frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const [h, w] = [this.thw[1], this.thw[2]];
    const scale = Math.min(width / w, height / h);
    const [a, b] = [scale * w, scale * h];
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.video, (width - a) / 2, (height - b) / 2, a, b, 0, 0, w, h);
    const { data } = this.context.getImageData(0, 0, w, h);
    const grey = (i) => (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) / 255;
    return Float32Array.from({ length: h * w }, (_, i) => grey(4 * i));
  }

  close() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
  }
}
