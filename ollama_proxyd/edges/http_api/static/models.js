// The models: where each is, what it takes, and getting, loading, unloading and deleting them.

import { act, announce, follow, reasonOf, refresh } from "./frame.js";
import { amount, t } from "./i18n.js";
import { by, fill, make, say } from "./page.js";
import { inSpan } from "./reasons.js";
import { ask, read } from "./stream.js";

const MOST_LINE = 1024 * 1024;
let pulling = null; // what ends the pull under way
let busy = new Set();
let engines = { running: [], failed: [] }; // what the proxy runs, and what ended unasked

const isFor = (name) => (each) => [each.model, `${each.model}:latest`].includes(name);

function send(path, body, method = "POST", signal = undefined) {
  return ask(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

/** Each model with the backends that have it, and those that have it in memory. */
async function load() {
  const [{ models }, { models: loaded }, backends] = await Promise.all([read("/api/tags"), read("/api/ps"), read("/backends")]);
  const inMemory = new Set(loaded.map((each) => each.name));
  const rows = models.map((model) => ({
    name: model.name,
    facts: [model.details?.parameter_size, model.details?.quantization_level, model.size ? `${amount(model.size / 1e9)} GB` : ""].filter(Boolean).join(" · "),
    places: backends.filter((each) => each.models.includes(model.name)).map((each) => each.id),
    isLoaded: inMemory.has(model.name),
    isBusy: busy.has(model.name),
    loading: engines.running.filter(isFor(model.name)).find((each) => each.phase === "loading" || each.phase === "waiting"),
    troubles: engines.failed.filter(isFor(model.name)),
  }));
  by("none").hidden = rows.length > 0;
  fill(by("models"), rows, () => rows.map(line));
}

function line({ name, facts, places, isLoaded, isBusy, loading: under, troubles }) {
  const button = (label, work, question = "") => {
    const made = make("button", { type: "button", class: "second", "aria-label": `${label} ${name}` }, label);
    made.disabled = isBusy;
    made.addEventListener("click", () => (question === "" || confirm(question)) && change(name, work));
    return made;
  };
  const loading = isLoaded
    ? button(t("Unload"), () => send("/api/generate", { model: name, keep_alive: 0, stream: false }))
    : button(t("Load"), () => send("/api/generate", { model: name, stream: false }));
  const remove = button(t("Delete"), () => send("/api/delete", { model: name }, "DELETE"), t("Delete {name} from every place?", { name }));
  const step = under && (under.phase === "waiting" ? t("waits for memory") : under.loaded_percent === null ? t("is loading") : t("is loading, {percent} %", { percent: under.loaded_percent }));
  const chips = [...(step ? [make("span", { class: "chip", "data-look": "busy" }, step)] : []), ...(isLoaded ? [make("span", { class: "chip", "data-look": "good" }, t("in memory"))] : []), ...places.map((each) => make("span", { class: "chip" }, each))];
  return make("li", { class: "card line" },
    make("div", { class: "names" }, make("h2", {}, make("bdi", {}, name)), make("p", { class: "quiet small" }, facts), ...troubles.map((each) => make("p", { class: "small" }, inSpan(each)))),
    make("p", { class: "chips" }, ...chips), make("p", { class: "row" }, loading, remove));
}

async function change(name, work) {
  busy.add(name);
  await refresh(load);
  await act(work);
  busy.delete(name);
  await refresh(load);
}

async function pull(event) {
  event.preventDefault();
  const name = by("pull-name").value.trim();
  pulling = new AbortController();
  show(true);
  try {
    await progress(await send("/api/pull", { model: name }, "POST", pulling.signal));
    told(t("{name} is here.", { name }));
    by("pull-name").value = "";
  } catch (error) {
    told(pulling.signal.aborted ? t("Cancelled; what was loaded is kept for the next try.") : t("That did not work: {reason}", { reason: reasonOf(error) }));
  }
  show(false);
  await refresh(load);
}

async function progress(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    if (rest.length > MOST_LINE) throw new Error(t("the answer is too long for this page"));
    for (const each of lines) if (each) step(JSON.parse(each));
    if (done) return;
  }
}

function step({ error, status, total, completed }) {
  if (error) throw new Error(error);
  if (total) by("pull-bar").value = (completed ?? 0) / total;
  else by("pull-bar").removeAttribute("value");
  say(by("pull-says"), total ? `${status} · ${amount((completed ?? 0) / 1e9)} / ${amount(total / 1e9)} GB` : (status ?? ""));
}

function told(text) {
  say(by("pull-says"), text);
  announce(text);
}

function show(isPulling) {
  by("cancel").hidden = by("pull-bar").hidden = !isPulling;
  by("pull").querySelector(".primary").disabled = isPulling;
}

by("pull").addEventListener("submit", pull);
by("cancel").addEventListener("click", () => pulling?.abort());
let seen = "";
follow((status) => {
  engines = { running: status.engines, failed: status.engines_ended };
  const now = JSON.stringify([engines, ...status.backends.map((each) => [each.id, each.health, each.models, each.loaded_models])]);
  if (now !== seen) refresh(load);
  seen = now;
});
