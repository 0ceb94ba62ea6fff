// Ops that slide a window over a (T, H, W) grid, as those of mvit_np/ops that use windows.py.

/** How many windows fit on each axis: floor((n + 2 p - k) / s) + 1. */
export function out_grid(grid, kernel, stride, padding) {
  return grid.map((n, i) => Math.floor((n + 2 * padding[i] - kernel[i]) / stride[i]) + 1);
}

const tables = new WeakMap();

/**
 * Which cells each window meets, and with which taps, counted in reading order.
 *
 * Those of window i are cells[k] and taps[k], k from starts[i] to starts[i + 1] - 1. What lies
 * in the padding is left out. A pool's table is made once.
 */
export function windowTable(pool) {
  if (!tables.has(pool)) tables.set(pool, makeTable(pool));
  return tables.get(pool);
}

function makeTable({ thw_in, thw_out, kernel, stride, padding }) {
  const [starts, cells, taps] = [[0], [], []];
  for (const at of places(thw_out)) {
    for (const tap of places(kernel)) {
      const cell = at.map((n, i) => n * stride[i] - padding[i] + tap[i]);
      if (cell.some((n, i) => n < 0 || n >= thw_in[i])) continue;
      cells.push((cell[0] * thw_in[1] + cell[1]) * thw_in[2] + cell[2]);
      taps.push((tap[0] * kernel[1] + tap[1]) * kernel[2] + tap[2]);
    }
    starts.push(cells.length);
  }
  const [first, second, third] = [starts, cells, taps].map((list) => Int32Array.from(list));
  return { starts: first, cells: second, taps: third };
}

function* places([t, h, w]) {
  for (let i = 0; i < t; i++) {
    for (let j = 0; j < h; j++) for (let k = 0; k < w; k++) yield [i, j, k];
  }
}

/** Cubes of pixels times W, plus b.   x: (T, H, W, C)   w: (taps, C, D)   ->   (t h w, D) */
export function cube_conv(x, w, b, embed, y) {
  const { channels, dim } = embed;
  const { starts, cells, taps } = windowTable(embed);
  for (let i = 0; i < starts.length - 1; i++) {
    y.set(b, i * dim);
    for (let k = starts[i]; k < starts[i + 1]; k++) {
      for (let c = 0; c < channels; c++) {
        const value = x[cells[k] * channels + c];
        const from = (taps[k] * channels + c) * dim;
        for (let d = 0; d < dim; d++) y[i * dim + d] += value * w[from + d];
      }
    }
  }
  return y;
}

/** One filter a channel for all heads.   x: (T H W, h, d)   w: (taps, d)   ->   (t h w, h, d) */
export function depthwise_conv(x, w, pool, heads, width, y) {
  const row = heads * width;
  const { starts, cells, taps } = windowTable(pool);
  y.fill(0);
  for (let i = 0; i < starts.length - 1; i++) {
    for (let k = starts[i]; k < starts[i + 1]; k++) {
      for (let head = 0; head < heads; head++) {
        const from = cells[k] * row + head * width;
        const to = i * row + head * width;
        const filter = taps[k] * width;
        for (let c = 0; c < width; c++) y[to + c] += w[filter + c] * x[from + c];
      }
    }
  }
  return y;
}

/** The largest value in each window; padding never wins.   x: (T H W, D)   ->   (t h w, D) */
export function max_pool(x, pool, width, y) {
  const { starts, cells } = windowTable(pool);
  y.fill(-Infinity);
  for (let i = 0; i < starts.length - 1; i++) {
    for (let k = starts[i]; k < starts[i + 1]; k++) {
      for (let c = 0; c < width; c++) {
        y[i * width + c] = Math.max(y[i * width + c], x[cells[k] * width + c]);
      }
    }
  }
  return y;
}

/** The mean of each window, padding counted as zeros.   x: (T H W, D)   ->   (t h w, D) */
export function avg_pool(x, pool, width, y) {
  const share = 1 / pool.kernel.reduce((a, b) => a * b);
  const { starts, cells } = windowTable(pool);
  y.fill(0);
  for (let i = 0; i < starts.length - 1; i++) {
    for (let k = starts[i]; k < starts[i + 1]; k++) {
      for (let c = 0; c < width; c++) y[i * width + c] += share * x[cells[k] * width + c];
    }
  }
  return y;
}
