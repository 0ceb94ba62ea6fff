// Every size of a model, worked out from its config as mvit_np/model/sizes.py does it: the names of
// fields are those of its specs. And what the model costs, as mvit_np/model/account.py counts it.

import { out_grid } from "./windows.js";

export const product = (list) => list.reduce((a, b) => a * b, 1);

/** The sizes of the embedding, of each block and of the head. */
export function plan(config) {
  const embed = embedSize(config);
  const blocks = [];
  let thw = embed.thw;
  config.depths.forEach((count, stage) => {
    for (let place = 0; place < count; place++) {
      const spec = blockSize(config, blocks.length, stage, place, thw);
      blocks.push(spec);
      thw = spec.thw_q;
    }
  });
  return {
    config,
    embed,
    blocks,
    head: { dim: blocks.at(-1).dim_out, num_classes: config.num_classes },
  };
}

/** The last block of each stage. */
export function lastBlocks(p) {
  return p.config.depths.map((_, stage) =>
    p.blocks.filter((block) => block.stage === stage).at(-1),
  );
}

function embedSize(config) {
  const size = Array.isArray(config.size) ? config.size : [config.size, config.size];
  const [thw_in, kernel, stride] = [
    [config.frames, ...size],
    config.cube_kernel,
    config.cube_stride,
  ];
  const padding = kernel.map((k, i) => (k === stride[i] ? 0 : Math.floor(k / 2)));
  const thw = out_grid(thw_in, kernel, stride, padding);
  const grids = { thw_in, thw, thw_out: thw };
  return { ...grids, kernel, stride, padding, channels: config.channels, dim: config.dim };
}

function transitions(config) {
  const { stride_q, depths } = config;
  return Array.isArray(stride_q[0]) ? stride_q : depths.slice(1).map(() => stride_q);
}

function strideKv(config, index, stage) {
  if (!config.stride_kv || config.unpooled_kv.includes(index)) return null;
  const met = config.adaptive_kv ? transitions(config).slice(0, stage) : [];
  const divided = (kv, q) => kv.map((s, i) => Math.max(Math.floor(s / q[i]), 1));
  return met.reduce(divided, config.stride_kv);
}

function blockSize(config, index, stage, place, thw) {
  const first = stage > 0 && place === 0;
  const stride_q = first ? transitions(config)[stage - 1] : [1, 1, 1];
  const stride_kv = strideKv(config, index, stage);
  const [kind, rule] = [config.pool, config.pool_kernel];
  const pool_q =
    config.pool_q_always || product(stride_q) > 1 ? pool(kind, rule, stride_q, thw) : null;
  const pool_kv = stride_kv && pool(kind, rule, stride_kv, thw);
  const pool_skip = pool("max", config.skip_kernel, stride_q, thw);
  const heads = config.heads * (config.expand ? 2 ** stage : 1);
  const [dim_in, dim_attn, dim_out] = widths(config, stage, place);
  const spec = { index, stage, heads, dim_in, dim_attn, dim_out, thw, pool_q, pool_kv, pool_skip };
  const [thw_q, thw_kv] = [pool_q ? pool_q.thw_out : thw, pool_kv ? pool_kv.thw_out : thw];
  const cls = Number(config.cls_token);
  const tokens = {
    tokens_in: cls + product(thw),
    tokens_q: cls + product(thw_q),
    tokens_kv: cls + product(thw_kv),
  };
  const head_dim = dim_attn / heads;
  return {
    ...spec,
    ...tokens,
    thw_q,
    thw_kv,
    head_dim,
    cls,
    dim_mlp: Math.trunc(config.mlp_ratio * dim_attn),
  };
}

function widths(config, stage, place) {
  const { dim, depths } = config;
  if (!config.expand) return [dim, dim, dim];
  const here = dim * 2 ** stage;
  if (config.expand_in === "attention")
    return [stage > 0 && place === 0 ? here / 2 : here, here, here];
  const last = place === depths[stage] - 1 && stage < depths.length - 1;
  return [here, here, last ? 2 * here : here];
}

function pool(kind, rule, stride, thw_in) {
  const grow = { s: (s) => s, "s+1": (s) => s + 1, "2s+1": (s) => 2 * s + 1 }[rule];
  const kernel = grow ? stride.map((s) => (s > 1 ? grow(s) : 1)) : rule;
  if (product(kernel) === 1 && product(stride) === 1) return null;
  const even = (k, s) => Math.floor((k - s + 1) / 2);
  const padding = kernel.map((k, i) => (k % 2 ? Math.floor(k / 2) : even(k, stride[i])));
  return {
    kind,
    kernel,
    stride,
    padding,
    thw_in,
    thw_out: out_grid(thw_in, kernel, stride, padding),
  };
}

/** Multiply-adds of a clip in the embedding, each block and the head. */
export function macs(p) {
  const { embed, head } = p;
  const first = product(embed.thw) * product(embed.kernel) * embed.channels * embed.dim;
  return [first, ...p.blocks.map((spec) => blockMacs(spec, p.config)), head.dim * head.num_classes];
}

function blockMacs(s, config) {
  const convs = [s.pool_q, s.pool_kv, s.pool_kv].filter((each) => each && each.kind === "conv");
  let count = s.tokens_in * s.dim_in * 3 * s.dim_attn;
  for (const conv of convs) count += product(conv.thw_out) * product(conv.kernel) * s.dim_attn;
  count += 2 * s.tokens_q * s.tokens_kv * s.dim_attn + s.tokens_q * s.dim_attn ** 2;
  count += s.tokens_q * s.dim_mlp * (s.dim_attn + s.dim_out);
  if (s.dim_in === s.dim_out || config.skip === "none") return count;
  return count + (s.dim_attn !== s.dim_in ? s.tokens_in : s.tokens_q) * s.dim_in * s.dim_out;
}

/** A ViT as wide as the model ends: 8 x 8 patches of single frames, one stage, no pooling. */
export function vitBeside(config) {
  const patch = [1, 8, 8];
  const dim = plan(config).blocks.at(-1).dim_attn;
  const one_stage = {
    dim,
    heads: 4,
    depths: [config.depths.reduce((a, b) => a + b)],
    stride_kv: null,
  };
  return { ...config, cube_kernel: patch, cube_stride: patch, stride_q: [1, 1, 1], ...one_stage };
}

/** The config with parts of what makes it multiscale switched off. */
export function changed(config, { queries, keys, channels }) {
  const stride_q = queries ? config.stride_q : [1, 1, 1];
  const pools = keys ? config.stride_kv : null;
  return { ...config, stride_q, stride_kv: pools, expand: channels && config.expand };
}
