// The steps of one block: the shapes, the numbers of one token, and the ops behind each. What a
// step means is told in page.html, under the step's name and, where there are two cases, the case.

import { kept } from "./state.js";
import { times } from "./dom.js";

/**
 * The steps of a block for one token.
 *
 * rows: {input, query} of the token among the block's input and among its queries. Each step has
 * name, text (a name in page.html), shape, strips [[title, numbers, "signed" or "heat"]] and ops.
 */
export function blockSteps(block, rows, addsQuery) {
  const numbers = (name, at, width) =>
    kept(`blocks.${block.index}.${name}`).subarray(at * width, (at + 1) * width);
  const input = (title, name, width) => [title, numbers(name, rows.input, width), "signed"];
  const query = (title, name, width) => [title, numbers(name, rows.query, width), "signed"];
  const look = { block, rows, numbers, input, query, addsQuery };
  return [...projections(look), ...attention(look), ...restOfBlock(look)];
}

const grid = (n, thw, cls) => `${n} tokens (${cls ? "1 + " : ""}${times(thw)})`;
const before = (block) => grid(block.tokens_in, block.thw, block.cls);
const queries = (block) => grid(block.tokens_q, block.thw_q, block.cls);
const keys = (block) => grid(block.tokens_kv, block.thw_kv, block.cls);

function projections({ block, numbers, input, query, rows }) {
  const { dim_in, dim_attn, heads, head_dim, tokens_in } = block;
  const hats = ["q", "k", "v"].map((name) => input(`${name}^`, `${name}_hat`, dim_attn));
  const favourite = mostSeen(perHead(block, numbers, rows, "attention")[0]);
  const key = (name) => [name, numbers(name, favourite, dim_attn), "signed"];
  const each = `${heads} × ${head_dim} channels each`;
  return [
    {
      name: "norm",
      ops: ["layer_norm"],
      shape: `${before(block)} × ${dim_in} → the same`,
      strips: [input("before", "input", dim_in), input("after", "norm1", dim_in)],
    },
    {
      name: "project",
      ops: ["linear"],
      shape: `${tokens_in} × ${dim_in} → 3 × ${tokens_in} × ${dim_attn}`,
      strips: hats,
    },
    {
      name: "pool q",
      text: `pool-q-${block.pool_q?.kind ?? "none"}`,
      ops: poolOps(block.pool_q),
      shape: `${before(block)} → ${queries(block)}, ${each}`,
      strips: [query("q", "q", dim_attn)],
    },
    {
      name: "pool k, v",
      text: `pool-kv-${block.pool_kv?.kind ?? "none"}`,
      ops: poolOps(block.pool_kv),
      shape: `${before(block)} → ${keys(block)}, ${each}`,
      strips: [key("k"), key("v")],
    },
  ];
}

function attention({ block, rows, numbers, query, addsQuery }) {
  const { dim_attn, heads, head_dim, tokens_q, tokens_kv } = block;
  const strips = (name, kind) =>
    perHead(block, numbers, rows, name).map((row, head) => [`head ${head + 1}`, row, kind]);
  const scores = `${heads} × ${tokens_q} × ${tokens_kv}`;
  return [
    {
      name: "scores",
      ops: ["attention_weights"],
      shape: `${heads} × (${tokens_q} × ${head_dim}) (${head_dim} × ${tokens_kv}) → ${scores}`,
      strips: strips("scores", "signed"),
    },
    {
      name: "softmax",
      ops: ["softmax_array"],
      shape: `${scores} → the same, each row a sum of 1`,
      strips: strips("attention", "heat"),
    },
    {
      name: "mix",
      ops: ["attend"],
      shape: `(${scores}) (${tokens_kv} × ${head_dim}) → ${heads} × ${tokens_q} × ${head_dim}`,
      strips: headParts(query("", "mixed", dim_attn)[1], heads, head_dim),
    },
    {
      name: "join",
      text: addsQuery ? "join-query" : "join",
      ops: addsQuery ? ["reshape", "residual"] : ["reshape"],
      shape: `${tokens_q} × ${heads} × ${head_dim} → ${tokens_q} × ${dim_attn}`,
      strips: [query("z", addsQuery ? "mixed_query" : "mixed", dim_attn)],
    },
    {
      name: "project back",
      ops: ["linear"],
      shape: `${tokens_q} × ${dim_attn} → ${tokens_q} × ${dim_attn}`,
      strips: [query("attention's result", "projected", dim_attn)],
    },
  ];
}

function restOfBlock({ block, query }) {
  const { dim_attn, dim_out, dim_mlp, tokens_q, pool_skip } = block;
  const skip = pool_skip ? [query("skip", "skip", dim_attn)] : [];
  const wider = dim_out > dim_attn ? "-wider" : "";
  return [
    {
      name: "pooled skip",
      text: pool_skip ? "pooled skip" : "plain skip",
      ops: pool_skip ? ["max_pool", "residual"] : ["residual"],
      shape: `${before(block)} → ${queries(block)}, ${dim_attn} channels`,
      strips: [...skip, query("sum", "added1", dim_attn)],
    },
    {
      name: "norm 2",
      ops: ["layer_norm"],
      shape: `${tokens_q} × ${dim_attn} → the same`,
      strips: [query("after", "norm2", dim_attn)],
    },
    {
      name: "MLP",
      text: `MLP${wider}`,
      ops: ["mlp", "gelu"],
      shape: [dim_attn, dim_mlp, dim_out].map((width) => `${tokens_q} × ${width}`).join(" → "),
      strips: [query("hidden, after the GELU", "hidden", dim_mlp), query("result", "mlp", dim_out)],
    },
    {
      name: "add",
      text: `add${wider}`,
      ops: ["residual"],
      shape: `${tokens_q} × ${dim_out} → the same`,
      strips: [query("the block's output", "output", dim_out)],
    },
  ];
}

function perHead({ heads, tokens_q, tokens_kv }, numbers, rows, name) {
  const row = (head) => numbers(name, head * tokens_q + rows.query, tokens_kv);
  return Array.from({ length: heads }, (_, head) => row(head));
}

function mostSeen(shares) {
  return shares.indexOf(Math.max(...shares));
}

function headParts(numbers, heads, width) {
  const part = (head) => numbers.subarray(head * width, (head + 1) * width);
  return Array.from({ length: heads }, (_, head) => [`head ${head + 1}`, part(head), "signed"]);
}

function poolOps(pool) {
  if (!pool) return [];
  return pool.kind === "conv" ? ["depthwise_conv", "layer_norm"] : [`${pool.kind}_pool`];
}
