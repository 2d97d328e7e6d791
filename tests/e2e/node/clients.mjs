// Talks to the daemon as the npm clients do, and prints a JSON line for each thing tried.
// usage: node clients.mjs BASE TOOL
import { Ollama } from "ollama";
import OpenAI from "openai";

console.log = console.error; // libraries may chat; the lines on standard output are ours alone
const base = process.argv[2];
const tool = JSON.parse(process.argv[3]);
const messages = [{ role: "user", content: "hello" }];
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
const ollama = new Ollama({ host: base });
const cold = { temperature: 0 };

const trials = {
  "openai chat": async () =>
    (await openai.chat.completions.create({ model: "calm", messages, ...cold })).choices[0].message.content,
  "openai stream": async () => {
    let text = "";
    for await (const chunk of await openai.chat.completions.create({ model: "calm", messages, ...cold, stream: true }))
      text += chunk.choices[0]?.delta?.content ?? "";
    return text;
  },
  "openai tools": async () => {
    const answer = await openai.chat.completions.create({ model: "calm", messages, ...cold, tools: [tool] });
    return JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments);
  },
  "openai completion": async () =>
    (await openai.completions.create({ model: "calm", prompt: "hello\n", max_tokens: 3, ...cold })).choices[0].text,
  "openai embeddings": async () =>
    (await openai.embeddings.create({ model: "tinyembed", input: ["a", "b"] })).data.map((item) => item.embedding.length),
  "openai models": async () => (await openai.models.list()).data.map((model) => model.id).sort(),
  "openai retrieve": async () => (await openai.models.retrieve("calm")).id,
  "openai missing": () =>
    openai.chat.completions.create({ model: "nope", messages }).catch((error) => [error.constructor.name, error.status]),
  "ollama chat": async () => (await ollama.chat({ model: "calm", messages, options: cold })).message.content,
  "ollama stream": async () => {
    let [thinking, content] = ["", ""];
    for await (const part of await ollama.chat({ model: "tiny", messages, options: cold, stream: true })) {
      thinking += part.message.thinking ?? "";
      content += part.message.content;
    }
    return [thinking, content];
  },
  "ollama tools": async () =>
    (await ollama.chat({ model: "calm", messages, options: cold, tools: [tool] })).message.tool_calls[0].function.arguments,
  "ollama generate": async () => (await ollama.generate({ model: "calm", prompt: "hello", options: cold })).response,
  "ollama embed": async () =>
    (await ollama.embed({ model: "tinyembed", input: ["a", "b"] })).embeddings.map((vector) => vector.length),
  "ollama list": async () => (await ollama.list()).models.map((model) => model.name).sort(),
  "ollama ps": async () => (await ollama.ps()).models.length,
  "ollama show": async () => (await ollama.show({ model: "calm" })).details.format,
  "ollama missing": () => ollama.chat({ model: "nope", messages }).catch((error) => [error.name, error.status_code]),
};

for (const [name, trial] of Object.entries(trials)) {
  const line = await trial().then(
    (value) => ({ name, value }),
    (error) => ({ name, error: String(error) }),
  );
  process.stdout.write(JSON.stringify(line) + "\n");
}
