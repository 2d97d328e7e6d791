// A conversation as a request to the proxy's own /api/chat, and its answer frame by frame.

import { ask, read } from "./stream.js";

const MOST_LINE = 8 * 1024 * 1024;

export const OPTIONS = [
  { name: "temperature", label: "Temperature", least: 0, most: 2, step: 0.05 },
  { name: "top_p", label: "Top p", least: 0, most: 1, step: 0.01 },
  { name: "top_k", label: "Top k", least: 1, most: 1000, step: 1 },
  { name: "num_predict", label: "Most tokens", least: 1, most: 1000000, step: 1 },
  { name: "num_ctx", label: "Context, in tokens", least: 128, most: 10000000, step: 1 },
  { name: "seed", label: "Seed", least: 0, most: 4294967295, step: 1 },
];

function sent(message) {
  const { role, content, images, calls, tool } = message;
  return {
    role,
    content,
    ...(images?.length ? { images } : {}),
    ...(calls?.length ? { tool_calls: calls.map((each) => ({ function: each })) } : {}),
    ...(tool ? { tool_name: tool } : {}),
  };
}

/** The request: what was set for this conversation and nothing else. */
export function requestOf(conversation) {
  const { model, system, options, think, tools, messages } = conversation;
  return {
    model,
    stream: true,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages.map(sent)],
    ...(Object.keys(options).length ? { options } : {}),
    ...(think ? { think: think === "on" } : {}),
    ...(tools ? { tools: JSON.parse(tools) } : {}),
  };
}

/** About how long a prompt is; the engine counts. */
export function promptTokens(conversation, more = "") {
  const letters = conversation.messages.reduce((sum, each) => sum + each.content.length, conversation.system.length + more.length);
  return Math.ceil(letters / 4) + 8;
}

/** Asks, and tells the headers and then each frame. */
export async function chat(conversation, signal, { began, frame }) {
  const reply = await ask("/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(requestOf(conversation)),
    signal,
  });
  began(reply.headers);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    if (rest.length > MOST_LINE) throw new Error("a line of the answer is longer than 8 MiB");
    for (const line of lines) if (line) take(JSON.parse(line), frame);
  }
  if (rest) take(JSON.parse(rest), frame);
}

function take(told, frame) {
  if (told.error) throw new Error(told.error);
  frame(told);
}

/** Where a request would go, with every candidate. */
export async function explain(question) {
  const reply = await ask("/routing/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
  return reply.json();
}

/** What became of a request, once the books have it; undefined where they forgot it. */
export async function outcome(requestId) {
  return (await read(`/requests?id=${encodeURIComponent(requestId)}`))[0];
}

export async function models() {
  return (await read("/api/tags")).models;
}
