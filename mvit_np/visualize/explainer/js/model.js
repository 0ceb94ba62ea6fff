// The forward pass, layer by layer as in mvit_np/model/layers. Every array along the way is kept
// under its name, such as "blocks.1.attention", so that the panels can look at it afterwards.

import {
  add,
  attend,
  first_token,
  join_class,
  layer_norm,
  linear,
  mean_token,
  mlp,
  residual,
  split_channels,
  split_class,
} from "./ops.js";
import { avg_pool, cube_conv, depthwise_conv, max_pool } from "./windows.js";
import { plan } from "./plan.js";

/** Named arrays that are made once and written again in every pass. */
class Space {
  arrays = new Map();

  take(name, ...shape) {
    const size = shape.reduce((a, b) => a * b, 1);
    const there = this.arrays.get(name);
    if (there?.data.length === size) return there.data;
    const data = new Float32Array(size);
    this.arrays.set(name, { data, shape });
    return data;
  }

  get(name) {
    return this.arrays.get(name);
  }
}

/** A model: its config, its plan, its parameters and the arrays of its last pass. */
export function makeModel(config, params) {
  return { config, params, plan: plan(config), space: new Space() };
}

/** Class scores (logits) of one normalised clip.   (T H W C)   ->   (num_classes) */
export function forward(model, clip) {
  const { params, space } = model;
  let x = embed(model, clip);
  for (const spec of model.plan.blocks) x = block(model, params.blocks[spec.index], x, spec);
  const { dim, num_classes } = model.plan.head;
  const token = summary(model, x, dim);
  return linear(token, params.head.w, params.head.b, dim, space.take("logits", num_classes));
}

function embed({ config, params, plan: p, space }, clip) {
  const {
    thw: [t, h, w],
    dim,
  } = p.embed;
  const places = t * h * w;
  const x = cube_conv(
    clip,
    params.patch_embed.w,
    params.patch_embed.b,
    p.embed,
    space.take("cubes", places, dim),
  );
  const cls = space.take("class", dim);
  if (config.cls_token) cls.set(params.cls_token);
  if (config.positions === "separate" || config.positions === "space") {
    add(x, params.pos_embed_spatial, x);
    if (config.positions === "separate") addFrames(x, params.pos_embed_temporal, h * w * dim, dim);
    if (config.cls_token) add(cls, params.pos_embed_class, cls);
  }
  const count = places + Number(config.cls_token);
  const tokens = space.take("embedding", count, dim);
  config.cls_token ? join_class(cls, x, tokens) : tokens.set(x);
  return config.positions === "joint" ? add(tokens, params.pos_embed, tokens) : tokens;
}

// Each frame's row of the table is added to all tokens of that frame.
function addFrames(x, table, frame, dim) {
  for (let i = 0; i < x.length; i++) x[i] += table[Math.floor(i / frame) * dim + (i % dim)];
}

function block(model, params, x, spec) {
  const { config, space } = model;
  const { dim_in, dim_attn, dim_out, dim_mlp, tokens_in, tokens_q } = spec;
  const take = (name, ...shape) => space.take(`blocks.${spec.index}.${name}`, ...shape);
  take("input", tokens_in, dim_in).set(x);

  let y = layer_norm(
    x,
    params.norm1.g,
    params.norm1.b,
    config.eps,
    take("norm1", tokens_in, dim_in),
  );
  const before =
    dim_attn === dim_in ? x : widened(params, config, x, y, take("widened1", tokens_in, dim_attn));
  const skip = pooledSkip(before, spec, take);
  const attended = attention(model, params.attn, y, spec, take);
  x = residual(skip, attended, 0, take("added1", tokens_q, dim_attn));

  y = layer_norm(x, params.norm2.g, params.norm2.b, config.eps, take("norm2", tokens_q, dim_attn));
  const { fc1, fc2 } = params.mlp;
  const [hidden, result] = [take("hidden", tokens_q, dim_mlp), take("mlp", tokens_q, dim_out)];
  const out = mlp(y, fc1.w, fc1.b, fc2.w, fc2.b, dim_attn, hidden, result);
  const wide =
    dim_out === dim_attn ? x : widened(params, config, x, y, take("widened2", tokens_q, dim_out));
  return residual(wide, out, 0, take("output", tokens_q, dim_out));
}

// The skip where the width grows (Table A.1): of the normed input, of the plain one, or zeros.
function widened(params, config, x, normed, y) {
  if (config.skip === "none") return y.fill(0);
  const source = config.skip === "normalised" ? normed : x;
  return linear(
    source,
    params.proj.w,
    params.proj.b,
    params.proj.w.length / params.proj.b.length,
    y,
  );
}

function pooledSkip(x, spec, take) {
  if (!spec.pool_skip) return x;
  return poolTokens(x, spec.pool_skip, spec, take("skip", spec.tokens_q, spec.dim_attn));
}

function attention({ config }, params, x, spec, take) {
  const { dim_in, dim_attn, heads, head_dim, tokens_in, tokens_q, tokens_kv } = spec;
  const qkv = linear(x, params.qkv.w, params.qkv.b, dim_in, take("qkv", tokens_in, 3 * dim_attn));
  const hats = ["q_hat", "k_hat", "v_hat"].map((name) => take(name, tokens_in, dim_attn));
  const [q_hat, k_hat, v_hat] = split_channels(qkv, dim_attn, hats);
  const q = poolHeads(params, q_hat, spec.pool_q, "q", spec, config, take);
  const k = poolHeads(params, k_hat, spec.pool_kv, "k", spec, config, take);
  const v = poolHeads(params, v_hat, spec.pool_kv, "v", spec, config, take);
  const [scores, p] = ["scores", "attention"].map((name) => take(name, heads, tokens_q, tokens_kv));
  let z = attend(
    q,
    k,
    v,
    heads,
    head_dim,
    head_dim ** -0.5,
    scores,
    p,
    take("mixed", tokens_q, dim_attn),
  );
  if (config.residual_pooling) {
    const first = config.residual_pooling === "tokens" ? spec.cls * dim_attn : 0;
    z = residual(z, q, first, take("mixed_query", tokens_q, dim_attn));
  }
  return linear(z, params.proj.w, params.proj.b, dim_attn, take("projected", tokens_q, dim_attn));
}

// P applied to one of q, k, v; a convolution is followed by a norm, which the class token shares.
function poolHeads(params, x, pool, which, spec, config, take) {
  const count = which === "q" ? spec.tokens_q : spec.tokens_kv;
  if (!pool) {
    take(which, count, spec.dim_attn).set(x);
    return take(which, count, spec.dim_attn);
  }
  const y = poolTokens(
    x,
    pool,
    spec,
    take(which, count, spec.dim_attn),
    params[`pool_${which}`]?.w,
  );
  const norm = params[`norm_${which}`];
  return pool.kind === "conv" ? layer_norm(y, norm.g, norm.b, config.eps, y) : y;
}

// Pools the grid of a token list; the class token goes around the pool.
function poolTokens(x, pool, spec, y, weight) {
  const width = spec.dim_attn;
  if (spec.cls) y.set(first_token(x, width));
  const [from, to] = [x, y].map((tokens) => (spec.cls ? split_class(tokens, width)[1] : tokens));
  if (pool.kind === "conv") depthwise_conv(from, weight, pool, spec.heads, spec.head_dim, to);
  else (pool.kind === "max" ? max_pool : avg_pool)(from, pool, width, to);
  return y;
}

// The one token that stands for all: the class token or the mean, normed.
function summary({ config, params, space }, x, dim) {
  const { g, b } = params.norm;
  const one = space.take("summary", dim);
  if (config.mean_before_norm) {
    const grid = config.cls_token ? split_class(x, dim)[1] : x;
    return layer_norm(mean_token(grid, dim, one), g, b, config.eps, one);
  }
  if (config.cls_token) return layer_norm(first_token(x, dim), g, b, config.eps, one);
  return mean_token(layer_norm(x, g, b, config.eps, space.take("normed", x.length)), dim, one);
}
