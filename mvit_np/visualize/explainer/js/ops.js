// The ops of one clip on typed arrays, each with the name and the meaning of mvit_np/ops/NAME.py.
//
// Tokens are rows: x of N tokens and D channels is a Float32Array of N D numbers. Each op writes
// all of `y`, which its caller provides and which it returns, so that a pass makes no garbage.

const SQRT_HALF = Math.SQRT1_2;

/** x W + b of each row.   x: (N, I)   w: (I, O)   b: (O) or undefined   ->   (N, O) */
export function linear(x, w, b, width, y) {
  const outer = w.length / width;
  const rows = x.length / width;
  const whole = outer - (outer % 4);
  for (let row = 0; row < rows; row += 2) {
    const other = Math.min(row + 1, rows - 1);
    for (let o = 0; o < whole; o += 4) tile(x, w, b, width, outer, row, other, o, y);
    for (let o = whole; o < outer; o++) {
      y[row * outer + o] = product(x, w, b, width, outer, row, o);
      y[other * outer + o] = product(x, w, b, width, outer, other, o);
    }
  }
  return y;
}

function product(x, w, b, width, outer, row, o) {
  let sum = b ? b[o] : 0;
  for (let i = 0; i < width; i++) sum += x[row * width + i] * w[i * outer + o];
  return sum;
}

// Two rows by four columns at a time: each weight that is read is used twice, each number of x four
// times, and the sums stay in registers. That is twice as fast as one row by one column.
function tile(x, w, b, width, outer, row, other, o, y) {
  const from = row * width;
  const next = other * width;
  let s0 = 0,
    s1 = 0,
    s2 = 0,
    s3 = 0,
    t0 = 0,
    t1 = 0,
    t2 = 0,
    t3 = 0;
  for (let i = 0, at = o; i < width; i++, at += outer) {
    const u = x[from + i];
    const v = x[next + i];
    s0 += u * w[at];
    s1 += u * w[at + 1];
    s2 += u * w[at + 2];
    s3 += u * w[at + 3];
    t0 += v * w[at];
    t1 += v * w[at + 1];
    t2 += v * w[at + 2];
    t3 += v * w[at + 3];
  }
  put(y, row * outer + o, b, o, s0, s1, s2, s3);
  put(y, other * outer + o, b, o, t0, t1, t2, t3);
}

function put(y, to, b, o, s0, s1, s2, s3) {
  y[to] = s0 + (b ? b[o] : 0);
  y[to + 1] = s1 + (b ? b[o + 1] : 0);
  y[to + 2] = s2 + (b ? b[o + 2] : 0);
  y[to + 3] = s3 + (b ? b[o + 3] : 0);
}

/** g (x - mean) / sqrt(var + eps) + b of each row.   x: (N, D)   g, b: (D)   ->   (N, D) */
export function layer_norm(x, g, b, eps, y) {
  const width = g.length;
  for (let from = 0; from < x.length; from += width) {
    let mean = 0;
    for (let c = 0; c < width; c++) mean += x[from + c];
    mean /= width;
    let variance = 0;
    for (let c = 0; c < width; c++) variance += (x[from + c] - mean) ** 2;
    const r = 1 / Math.sqrt(variance / width + eps);
    for (let c = 0; c < width; c++) y[from + c] = g[c] * (x[from + c] - mean) * r + b[c];
  }
  return y;
}

/** x Phi(x), entry by entry, with the normal distribution's cumulative probability Phi. */
export function gelu(x, y) {
  for (let i = 0; i < x.length; i++) y[i] = 0.5 * x[i] * (1 + erf(x[i] * SQRT_HALF));
  return y;
}

// Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial =
    ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  const value = 1 - polynomial * Math.exp(-x * x);
  return x < 0 ? -value : value;
}

/** gelu(x W1 + b1) W2 + b2.   hidden: (N, H), which is overwritten   ->   (N, O) */
export function mlp(x, w1, b1, w2, b2, width, hidden, y) {
  gelu(linear(x, w1, b1, width, hidden), hidden);
  return linear(hidden, w2, b2, b1.length, y);
}

/** exp(x) / sum exp(x) of each row of `width` numbers.   (N, width)   ->   (N, width) */
export function softmax(x, width, y) {
  for (let from = 0; from < x.length; from += width) {
    let largest = -Infinity;
    for (let i = from; i < from + width; i++) largest = Math.max(largest, x[i]);
    let sum = 0;
    for (let i = from; i < from + width; i++) sum += y[i] = Math.exp(x[i] - largest);
    for (let i = from; i < from + width; i++) y[i] /= sum;
  }
  return y;
}

/** scale Q K' of each head.   q: (Nq, h, d)   k: (Nk, h, d)   ->   (h, Nq, Nk) */
export function attention_scores(q, k, heads, width, scale, y) {
  const row = heads * width;
  const [queries, keys] = [q.length / row, k.length / row];
  for (let head = 0, at = 0; head < heads; head++) {
    for (let i = 0; i < queries; i++) {
      const from = i * row + head * width;
      for (let j = 0; j < keys; j++, at++) {
        const to = j * row + head * width;
        let sum = 0;
        for (let c = 0; c < width; c++) sum += q[from + c] * k[to + c];
        y[at] = scale * sum;
      }
    }
  }
  return y;
}

/**
 * softmax(scale Q K') V.   q: (Nq, h, d)   k, v: (Nk, h, d)   ->   (Nq, h, d)
 *
 * scores, p: (h, Nq, Nk), before and after the softmax, which stay for whoever looks at them
 */
export function attend(q, k, v, heads, width, scale, scores, p, y) {
  softmax(attention_scores(q, k, heads, width, scale, scores), k.length / (heads * width), p);
  const row = heads * width;
  const [queries, keys] = [q.length / row, k.length / row];
  for (let head = 0, at = 0; head < heads; head++) {
    for (let i = 0; i < queries; i++, at += keys) {
      for (let c = head * width; c < (head + 1) * width; c++) {
        let sum = 0;
        for (let j = 0; j < keys; j++) sum += p[at + j] * v[j * row + c];
        y[i * row + c] = sum;
      }
    }
  }
  return y;
}

/** x + y for arrays of one length, from entry `first` on; before it the result is x. */
export function residual(x, y, first, z) {
  for (let i = 0; i < first; i++) z[i] = x[i];
  for (let i = first; i < x.length; i++) z[i] = x[i] + y[i];
  return z;
}

/** The sum of two arrays; the shorter is repeated.   x: (N, D)   y: (N, D) or (D)   ->   (N, D) */
export function add(x, y, z) {
  for (let i = 0; i < x.length; i++) z[i] = x[i] + y[i % y.length];
  return z;
}

/** The class token before the rest.   cls: (D)   x: (N, D)   ->   (1 + N, D) */
export function join_class(cls, x, y) {
  y.set(cls);
  y.set(x, cls.length);
  return y;
}

/** Views of the class token and of the rest.   x: (1 + N, D)   ->   [(D), (N, D)] */
export function split_class(x, width) {
  return [x.subarray(0, width), x.subarray(width)];
}

/** Equal parts of the channels.   x: (N, P D)   ys: P arrays   ->   P x (N, D) */
export function split_channels(x, width, ys) {
  const row = width * ys.length;
  ys.forEach((y, part) => {
    for (let from = part * width, to = 0; from < x.length; from += row, to += width) {
      for (let c = 0; c < width; c++) y[to + c] = x[from + c];
    }
  });
  return ys;
}

/** A view of the class token.   x: (N, D)   ->   (D) */
export function first_token(x, width) {
  return x.subarray(0, width);
}

/** The mean over the tokens.   x: (N, D)   ->   (D) */
export function mean_token(x, width, y) {
  y.fill(0);
  for (let i = 0; i < x.length; i++) y[i % width] += (x[i] * width) / x.length;
  return y;
}
