// Parameters: nested objects of typed arrays with the names of mvit_np, from a file or from chance.

const STD = 0.02;

/** The parameters that Python wrote: base64 of float32, and [path, shape] of each array in turn. */
export function decode(text, arrays) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  const params = {};
  let from = 0;
  for (const [path, shape] of arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    put(params, path, numbers.subarray(from, from + count));
    from += count;
  }
  return params;
}

function put(params, path, array) {
  const names = path.split(".");
  const last = names.pop();
  const place = names.reduce((inner, name) => (inner[name] ??= {}), params);
  place[last] = array;
}

/** Random parameters of a plan, as mvit_np.init draws them; `random` gives numbers in 0..1. */
export function init(p, random) {
  const { config, embed, blocks, head } = p;
  const draw = (count) => Float32Array.from({ length: count }, () => STD * normal(random));
  const linear = (inner, outer, bias = true) => ({
    w: draw(inner * outer),
    ...(bias && { b: new Float32Array(outer) }),
  });
  const norm = (width) => ({ g: new Float32Array(width).fill(1), b: new Float32Array(width) });
  const make = { draw, linear, norm };
  const [t, h, w] = embed.thw;
  const space = { pos_embed_spatial: h * w, pos_embed_class: 1 };
  const separate = { ...space, pos_embed_temporal: t };
  const joint = { pos_embed: t * h * w + Number(config.cls_token) };
  const rows = { separate, space, joint }[config.positions] ?? {};
  const params = {
    patch_embed: linear(embed.kernel.reduce((a, b) => a * b) * embed.channels, embed.dim),
  };
  params.cls_token = draw(embed.dim);
  for (const name in rows) params[name] = draw(rows[name] * embed.dim);
  params.blocks = blocks.map((spec) => initBlock(spec, config, make));
  return { ...params, norm: norm(head.dim), head: linear(head.dim, head.num_classes) };
}

function initBlock(spec, config, { draw, linear, norm }) {
  const attn = { qkv: linear(spec.dim_in, 3 * spec.dim_attn, config.qkv_bias) };
  for (const [which, pool] of [
    ["q", spec.pool_q],
    ["k", spec.pool_kv],
    ["v", spec.pool_kv],
  ]) {
    if (!pool || pool.kind !== "conv") continue;
    attn[`pool_${which}`] = { w: draw(pool.kernel.reduce((a, b) => a * b) * spec.head_dim) };
    attn[`norm_${which}`] = norm(spec.head_dim);
  }
  attn.proj = linear(spec.dim_attn, spec.dim_attn);
  const mlp = { fc1: linear(spec.dim_attn, spec.dim_mlp), fc2: linear(spec.dim_mlp, spec.dim_out) };
  const params = { norm1: norm(spec.dim_in), attn, norm2: norm(spec.dim_attn), mlp };
  if (spec.dim_in !== spec.dim_out && config.skip !== "none")
    params.proj = linear(spec.dim_in, spec.dim_out);
  return params;
}

// Box and Muller's way; beyond two standard deviations another is drawn, as in Python.
function normal(random) {
  for (;;) {
    const value = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    if (Math.abs(value) <= 2) return value;
  }
}

/** A generator of numbers in 0..1 that always begins alike (mulberry32). */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}
