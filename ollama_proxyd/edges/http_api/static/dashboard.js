// Puts each status on the page; what has not changed is left alone, so that nothing flickers and focus stays.

import { hoursView, shapes } from "./chart.js";
import { EnergyTable } from "./books.js";
import { act, announce, failed, follow } from "./frame.js";
import { amount, language, locale, t } from "./i18n.js";
import { by, fill, icon, make, mark, say } from "./page.js";
import { bar, gaps } from "./pieces.js";
import { phrase, tell } from "./reasons.js";
import { change, read } from "./stream.js";
import { about, budget, ended, energy, hardware, joules, known, machine, number, powerSaver, queue, rated, saved, serving, spent, state, unloading } from "./words.js";

const cards = new Map();
let cardsMade = 0;
let hoursShown = "";
let hoursTimer = null;
const HOURS_EVERY_MS = 10000;

function showMode(status) {
  const row = status.modes.find((each) => each.mode === status.mode);
  const effective = status.modes.find((each) => each.mode === status.effective_mode);
  const title = row === effective ? t(row.label) : `${t(row.label)} → ${t(effective.label)}`;
  if (by("mode-title").textContent !== title) announce(t("Mode: {mode}. {reason}", { mode: title, reason: phrase(status).text }));
  say(by("mode-title"), title);
  tell(by("mode-reason"), status);
  say(by("mode-about"), about(effective));
  const holds = status.holds.length > 1 ? status.holds : [];
  by("holds").hidden = holds.length === 0;
  fill(by("holds"), holds, () => holds.map((hold) => make("li", {}, held(hold, status.modes))));
  fill(by("modes"), status.modes.map((each) => each.label), () => status.modes.map(modeButton));
  for (const button of by("modes").children) {
    mark(button, "aria-pressed", button.dataset.mode === status.mode);
    button.classList.toggle("effective", button.dataset.mode === status.effective_mode);
  }
}

function held({ mode, application_id: program, reason }, modes) {
  const values = { mode: labelOf(mode, modes), program };
  const says = program ? t("{mode} held by {program}", values) : t("{mode} held by a program", values);
  return reason ? `${says}: ${reason}` : says;
}

function labelOf(mode, modes) {
  return t(modes.find((each) => each.mode === mode)?.label ?? mode);
}

function modeButton(row) {
  const button = make("button", { type: "button", "data-mode": row.mode, title: t(row.description) }, t(row.label));
  button.addEventListener("click", () => act(() => change("/efficiency", { mode: row.mode })));
  return button;
}

function newCard(id) {
  const parts = {
    icon: make("span", { class: "hardware" }),
    name: make("h3", { id: `name-${cardsMade++}` }),
    kind: make("p", { class: "quiet small" }),
    state: make("span", { class: "chip" }),
    reason: make("p", { class: "why" }),
    figures: make("dl", { class: "figures" }),
    models: make("ul", { class: "models", "aria-label": t("Models") }),
    gaps: make("details", { class: "gaps" }),
    toggle: make("button", { type: "button", role: "switch", class: "switch" }, make("span", { class: "knob" })),
  };
  parts.toggle.addEventListener("click", () => {
    const isOn = parts.toggle.getAttribute("aria-checked") === "true";
    act(() => change(`/backends/${encodeURIComponent(id)}`, { enabled: !isOn }));
  });
  const head = make("div", { class: "card-head" }, parts.icon, make("div", { class: "names" }, parts.name, parts.kind), parts.toggle);
  parts.item = make("li", { class: "card backend" }, head, make("p", { class: "states" }, parts.state), parts.reason, parts.figures, parts.models, parts.gaps);
  parts.item.setAttribute("aria-labelledby", parts.name.id);
  return parts;
}

function showBackends(status) {
  const list = by("backends");
  const ids = status.backends.map((each) => each.id);
  for (const [id, parts] of cards) if (!ids.includes(id)) { parts.item.remove(); cards.delete(id); }
  status.backends.forEach((backend, at) => {
    if (!cards.has(backend.id)) cards.set(backend.id, newCard(backend.id));
    const parts = cards.get(backend.id);
    if (list.children[at] !== parts.item) list.insertBefore(parts.item, list.children[at] ?? null);
    showBackend(parts, backend, status.last_decision?.backend === backend.id);
  });
  say(by("backends-count"), serving(status.backends));
  say(by("queue"), queue(status.queue));
  by("queue").hidden = by("queue").textContent === "";
  by("no-backends").hidden = ids.length > 0;
}

function showBackend(parts, backend, isLast) {
  const kind = hardware(backend.hardware);
  const now = state(backend);
  fill(parts.icon, kind.icon, () => [icon(kind.icon)]);
  mark(parts.icon, "title", kind.word);
  say(parts.name, backend.id);
  say(parts.kind, backend.name === backend.id ? kind.word : backend.name);
  fill(parts.state, [now.icon, now.word], () => [icon(now.icon), now.word]);
  mark(parts.state, "data-look", now.look);
  mark(parts.state, "lang", now.lang ?? language);
  mark(parts.item, "data-look", now.look);
  parts.item.classList.toggle("last", isLast);
  parts.reason.hidden = !backend.reason;
  tell(parts.reason, backend);
  const figures = cardFigures(backend);
  fill(parts.figures, figures, () => figures.map(figure));
  fill(parts.models, backend.models, () => models(backend.models));
  parts.models.hidden = backend.models.length === 0;
  parts.gaps.hidden = Object.keys(backend.unknown).length === 0;
  fill(parts.gaps, backend.unknown, () => gaps(backend.unknown, GAPS));
  mark(parts.toggle, "aria-checked", backend.enabled);
  mark(parts.toggle, "aria-label", t("Use {name}", { name: backend.id }));
}

function cardFigures(backend) {
  return [
    [t("Speed"), backend.tokens_per_second, "", backend.tokens_per_second === null ? "" : t("tokens/s")],
    [t("Draws"), backend.power_watts, "W", rated(backend)],
    [t("Heat"), backend.temperature_celsius, "°C"],
  ];
}

function figure([name, value, unit, note = ""]) {
  const told = value === null ? [make("span", { class: "quiet" }, t("unknown"))] : [make("b", {}, number(value)), ` ${unit}`];
  const notes = note ? [make("small", { class: "quiet" }, note)] : [];
  return make("div", {}, make("dt", {}, name), make("dd", {}, ...told, ...notes));
}

const SHOWN_MODELS = 4;

function models(names) {
  const items = names.slice(0, SHOWN_MODELS).map((name) => make("li", {}, name));
  const more = names.length - SHOWN_MODELS;
  return more > 0 ? [...items, make("li", { class: "more", title: names.slice(SHOWN_MODELS).join(", ") }, t("and {count} more", { count: amount(more) }))] : items;
}

const GAPS = { power_watts: t("Draws"), temperature_celsius: t("Heat"), asleep: t("Sleep"), too_hot: t("Too hot"), tokens_per_second: t("Speed"), rated_power_watts: t("Rated power"), loaded_models: t("Models in memory") };

function showLast(last) {
  by("last").hidden = last === null;
  by("last-none").hidden = last !== null;
  if (last === null) return;
  say(by("last-backend"), last.backend ?? t("No backend"));
  say(by("last-model"), last.model ?? "");
  say(by("last-ended"), ended(last.ended));
  mark(by("last-ended"), "data-look", last.ended === null ? "busy" : last.ended === "ok" ? "good" : "warm");
  tell(by("last-reason"), last);
  const bars = last.energy_joules === null ? [] : energyBars(last);
  fill(by("last-bars"), bars, () => bars.flatMap(([name, needed_j, share, look]) => [make("dt", {}, name), make("dd", {}, bar(share, look), make("span", {}, joules(needed_j)))]));
  const when = new Date(last.unix_seconds * 1000).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  say(by("last-when"), bars.length ? t("{time}, estimated before it was sent", { time: when }) : when);
}

/** The energy that was expected, beside that of the quickest backend where that is another. */
function energyBars(last) {
  const other = last.instead_of_joules ?? 0;
  const most = Math.max(last.energy_joules, other) || 1;
  const bars = [[last.backend, last.energy_joules, last.energy_joules / most, "own"]];
  return last.instead_of === null ? bars : [...bars, [t("{name}, the quickest", { name: last.instead_of }), other, other / most, "other"]];
}

function showLine(id, text) {
  say(by(id), text);
  by(id).hidden = text === "";
}

function showToday(status) {
  const today = status.today;
  const failed = today.errors ? t("{count} failed", { count: amount(today.errors) }) : "";
  const figures = [
    [t("Requests"), today.requests, "", failed],
    [t("Tokens"), today.prompt_tokens + today.completion_tokens, "", t("{count} written", { count: amount(today.completion_tokens) })],
    [t("Energy"), energy(today.energy_joules), "", known(today, "energy")],
    [t("Idle tail"), energy(today.idle_tail_joules), "", known(today, "idle_tail")],
    ...(spent(today) ? [[t("Money"), spent(today), "", t("estimated")]] : []),
  ];
  fill(by("today"), figures, () => figures.map(todayFigure));
  showLine("budget", budget(status.budget));
  showLine("power-saver", powerSaver(status.power_saver));
  showLine("unloading", unloading(status.unloading));
  const compared = saved(today);
  by("saved").hidden = compared === null;
  if (compared === null) return;
  say(by("saved"), compared.text);
  mark(by("saved"), "data-look", compared.look);
}

function todayFigure([name, value, , note]) {
  const told = typeof value === "number" ? amount(value) : value;
  return make("div", {}, make("dt", {}, name), make("dd", {}, make("b", {}, told), ...(note ? [make("small", { class: "quiet" }, note)] : [])));
}

/** The chart is asked for when a request has ended, the mode has changed or an hour has begun, but not all the time. */
function followHours(status) {
  const key = [status.today.requests, status.mode, status.effective_mode, new Date().getHours()].join();
  if (key === hoursShown || hoursTimer !== null) return;
  hoursTimer = setTimeout(() => { hoursTimer = null; showHours(status.modes); }, hoursShown === "" ? 0 : HOURS_EVERY_MS);
  hoursShown = key;
}

async function showHours(modes) {
  let told = null;
  try {
    told = await read("/energy/hours");
  } catch {
    hoursShown = "again";
    return;
  }
  const view = hoursView(told, Date.now() / 1000, energy, (mode) => labelOf(mode, modes));
  say(by("hours-says"), view.says);
  by("hours").replaceChildren(...shapes(view));
  by("hours-axis").replaceChildren(...view.axis.map((time) => make("span", {}, time)));
  const labels = new Map(view.modes.map(({ mode, label }) => [mode, label]));
  by("hours-legend").replaceChildren(
    ...view.parts.map(({ id, text, look }) => make("li", {}, make("span", { class: "swatch", "data-look": look }), `${id} ${text}`)),
    ...[...labels].map(([mode, label]) => make("li", {}, make("span", { class: "swatch strip", "data-mode": mode }), label)));
}

function showMachine(system) {
  const rows = machine(system);
  fill(by("machine"), rows, () => rows.flatMap(([name, text, share, why]) => [make("dt", {}, name), machineValue(text, share, why)]));
}

function machineValue(text, share, why) {
  if (text === null) return make("dd", {}, make("span", { class: "quiet" }, t("unknown")), ...(why ? [make("small", { class: "quiet", lang: phrase(why).lang }, phrase(why).text)] : []));
  return make("dd", {}, text, ...(share === null ? [] : [bar(share, "plain")]));
}

function show(status) {
  document.title = `${labelOf(status.effective_mode, status.modes)} · ollama-proxyd`;
  showMode(status);
  showBackends(status);
  showLast(status.last_decision);
  showToday(status);
  table.refresh(status.today);
  showMachine(status.system);
  followHours(status);
}

const table = new EnergyTable(failed);
follow(show);
