// The settings: what can be changed while the daemon runs, and what the file owns.

import { act, announce, follow, reasonOf, refresh } from "./frame.js";
import { amount, choose, chosen, t } from "./i18n.js";
import { by, fill, make, say } from "./page.js";
import { phrase } from "./reasons.js";
import { NeedsToken, ask, read } from "./stream.js";

const ROWS = [
  { key: "quiet_hours_enabled", label: "Quiet hours", type: "checkbox" },
  { key: "quiet_hours_start", label: "Quiet from", type: "time" },
  { key: "quiet_hours_end", label: "Quiet until", type: "time" },
  { key: "critical_battery_percent", label: "Battery critical below, in percent", type: "number" },
  { key: "low_battery_percent", label: "Battery low below, in percent", type: "number" },
  { key: "full_battery_percent", label: "Battery full from, in percent", type: "number" },
];

let told = null; // what applies, what the file says, and what of it was changed
const fields = new Map();

async function send(path, body) {
  return (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
}

// What Auto goes by

function field({ key, label, type }) {
  const limits = type === "number" ? { min: 0, max: 100, step: "any" } : {};
  const input = make("input", { id: key, type, ...limits, ...(type === "checkbox" ? {} : { required: "" }), "aria-describedby": `${key}-note` });
  const note = make("span", { id: `${key}-note`, class: "quiet small" });
  const back = make("button", { type: "button", class: "link-button small", "aria-label": t("As the file says: {name}", { name: t(label) }) }, t("as the file says"));
  back.addEventListener("click", () => apply({ [key]: null }));
  fields.set(key, { input, note, back, shown: undefined });
  return make("p", { class: "option" }, make("label", { for: key }, t(label)), input, note, back);
}

const valueOf = (input) => (input.type === "checkbox" ? input.checked : input.type === "number" ? Number(input.value) : input.value);

function put(input, value) {
  if (input.type === "checkbox") input.checked = value;
  else input.value = value;
}

function asText(value) {
  if (typeof value === "boolean") return value ? t("on") : t("off");
  return typeof value === "number" ? amount(value) : value;
}

/** Shows what applies; what a person has begun to change stays, and is told apart from what another did meanwhile. */
function showTuning(settings) {
  for (const [key, each] of fields) {
    const isTouched = each.shown !== undefined && valueOf(each.input) !== each.shown;
    if (!isTouched) put(each.input, settings[key]);
    const isElsewhere = isTouched && settings[key] !== each.shown;
    if (!isTouched) each.shown = settings[key];
    const isChanged = told.changed.includes(key);
    const own = isChanged ? t("changed; the file says {value}", { value: asText(told.configured[key]) }) : t("from the file, or by default");
    say(each.note, isElsewhere ? t("meanwhile elsewhere: {value}", { value: asText(settings[key]) }) : own);
    each.back.hidden = !isChanged;
  }
  showTouched();
}

function touched() {
  return [...fields].filter(([, { input, shown }]) => valueOf(input) !== shown);
}

function showTouched() {
  const isTouched = touched().length > 0;
  by("tuning-keep").disabled = by("tuning-leave").disabled = !isTouched;
}

async function apply(changes) {
  say(by("tuning-error"), "");
  try {
    told = await send("/settings", changes);
  } catch (error) {
    if (error instanceof NeedsToken) return act(() => { throw error; });
    return say(by("tuning-error"), reasonOf(error));
  }
  for (const key of Object.keys(changes)) fields.get(key).shown = undefined;
  showTuning(told.settings);
  say(by("tuning-says"), t("Applied."));
  return announce(t("Applied."));
}

// Features


function stateOf({ enabled, wanted }) {
  if (enabled) return ["good", t("in force")];
  return wanted ? ["warm", t("asked for, but nothing here does it")] : ["off", t("off")];
}

function effect({ backend, way, in_force: isInForce, ...told }) {
  const why = phrase(told);
  const look = isInForce ? "good" : way === "not_possible" ? "off" : "";
  const force = isInForce === null ? t("the engine does not tell") : isInForce ? t("in force") : t("not in force");
  return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, backend)), make("td", { class: "text" }, make("span", { class: "chip", "data-look": look }, way === "not_possible" ? t("not possible here") : force)), make("td", { class: "text notes", lang: why.lang }, why.text));
}

function feature(each) {
  const [look, word] = stateOf(each);
  const name = `feature-${each.id}`;
  const toggle = make("button", { type: "button", role: "switch", class: "switch", "aria-checked": each.wanted, "aria-labelledby": name }, make("span", { class: "knob" }));
  toggle.addEventListener("click", () => act(async () => showFeatures(await send("/api/features", { feature: each.id, enabled: !each.wanted, keep: by("keep").checked }))));
  const kept = each.kept ? [make("span", { class: "chip" }, t("kept over restarts"))] : [];
  const wide = make("div", { class: "wide", tabindex: "0", role: "group", "aria-labelledby": name }, make("table", { class: "log" }, make("thead", {}, make("tr", {}, ...[t("Backend"), t("State"), t("Reason")].map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, ...each.backends.map(effect))));
  const more = make("details", { class: "gaps" }, make("summary", {}, t("What it does at each backend")), wide);
  more.open = open.has(each.id);
  more.addEventListener("toggle", () => (more.open ? open.add(each.id) : open.delete(each.id)));
  return make("li", { "data-feature": each.id }, make("div", { class: "card-head" }, make("div", { class: "names" }, make("h3", { id: name }, t(each.name)), make("p", { class: "quiet small" }, t(each.description))), toggle),
    make("p", { class: "chips" }, make("span", { class: "chip", "data-look": look }, word), ...kept), ...(each.backends.length ? [more] : []));
}

const open = new Set();

function showFeatures(features) {
  const focused = document.activeElement?.closest("[data-feature]")?.dataset.feature;
  fill(by("features"), features, () => features.map(feature));
  const again = focused && by("features").querySelector(`[data-feature="${focused}"] .switch`);
  if (again && !by("features").contains(document.activeElement)) again.focus();
}

// What the file owns

function rows(id, heads, lines) {
  fill(by(id), [heads, lines], () => [make("thead", {}, make("tr", {}, ...heads.map((each) => make("th", { scope: "col" }, each)))), make("tbody", {}, ...lines.map((cells) => make("tr", {}, ...cells.map((cell, at) => (at ? make("td", { class: at === cells.length - 1 ? "text notes" : "text", ...(at === cells.length - 1 ? { lang: "en" } : {}) }, make("bdi", {}, cell)) : make("th", { scope: "row" }, make("code", {}, cell)))))))]);
}

const written = (value) => (value === null ? "null" : typeof value === "string" ? value : JSON.stringify(value));

function showFile({ path, options }) {
  say(by("file-path"), path ?? t("there is none: all is by default"));
  const how = path ? t("It is read again when it is saved.") : t("Write one at ~/.config/ollama-proxyd/config.yaml; it is read when it is saved.");
  say(by("file-how"), `${how} ${t("What needs a restart says so.")}`);
  const file = path?.split("/").at(-1);
  const place = (origin) => (path && origin.startsWith(path) ? `${file}${origin.slice(path.length)}` : origin);
  const when = (each) => (each.needs_restart ? t("after a restart") : t("at once"));
  const own = options.filter((each) => each.origin !== null);
  rows("file", [t("Option"), t("Value"), t("Written in"), t("A change applies"), t("Meaning")], own.map((each) => [each.key, written(each.value), place(each.origin), when(each), each.sentence]));
  by("file").hidden = own.length === 0;
  rows("defaults", [t("Option"), t("Value"), t("A change applies"), t("Meaning")], options.filter((each) => each.origin === null).map((each) => [each.key, written(each.value), when(each), each.sentence]));
}

function showFrontends(frontends, named) {
  shownFrontends = frontends;
  by("frontends-none").hidden = frontends.length > 0;
  by("frontends-wide").hidden = frontends.length === 0;
  const places = (each) => [each.port && `:${each.port}`, each.unix_socket, ...each.hosts].filter(Boolean).join(", ");
  const from = (each) => (named.frontends[each.name] === false ? t("the admin API") : t("the file"));
  rows("frontends", [t("Name"), t("Where"), t("Models"), t("Requests"), t("Written in"), t("Balancing")], frontends.map((each) => [each.name, places(each), each.allowed_models.join(", ") || t("all"), amount(each.requests), from(each), each.balancing]));
}

/** The fields of the form, as the admin API takes them. */
const frontendFields = () => {
  const list = (id) => by(id).value.split(",").map((each) => each.trim()).filter(Boolean);
  const whole = (id) => (by(id).value === "" ? null : Number(by(id).value));
  return { hosts: list("frontend-hosts"), port: whole("frontend-port"), allowed_models: list("frontend-models"), requests_per_minute: whole("frontend-rate") };
};

async function admin(method, body) {
  const path = `/v1.0/frontends/${encodeURIComponent(by("frontend-name").value.trim())}`;
  const headers = { Authorization: `Bearer ${by("frontend-token").value}`, ...(body ? { "Content-Type": "application/json" } : {}) };
  return ask(path, { method, headers, body: body && JSON.stringify(body) });
}

/** What the form does not show stays as it is. */
async function putFrontend() {
  const isThere = shownFrontends.some((each) => each.name === by("frontend-name").value.trim());
  const now = isThere ? await (await admin("GET")).json() : {};
  const set = Object.entries(now).filter(([, value]) => value !== null); // to name a socket at all is its owner's alone
  await admin("PUT", { ...Object.fromEntries(set), ...frontendFields() });
}

async function changeFrontend(what) {
  for (const id of ["frontend-says", "frontend-error"]) say(by(id), "");
  if (!by("frontend").reportValidity()) return;
  try {
    await what();
    say(by("frontend-says"), t("Applied."));
  } catch (error) {
    say(by("frontend-error"), error instanceof NeedsToken ? t("That token is not the one.") : reasonOf(error));
  }
}

let shownFrontends = [];

/** Fills the form with the front end of the name that is written there. */
function showFrontendOf() {
  const found = shownFrontends.find((each) => each.name === by("frontend-name").value.trim());
  if (!found) return;
  by("frontend-hosts").value = found.hosts.join(", ");
  by("frontend-port").value = found.port ?? "";
  by("frontend-models").value = found.allowed_models.join(", ");
  by("frontend-rate").value = found.requests_per_minute ?? "";
}

// The window

let configuration = null;

async function load() {
  const [settings, features, file] = await Promise.all([read("/settings"), read("/api/features"), read("/configuration")]);
  told = settings;
  configuration = file;
  showTuning(settings.settings);
  showFeatures(features);
  showFile(file);
}

by("tuning-rows").append(...ROWS.map(field));
by("tuning").addEventListener("input", showTouched);
by("tuning").addEventListener("submit", (event) => {
  event.preventDefault();
  apply(Object.fromEntries(touched().map(([key, { input }]) => [key, valueOf(input)])));
});
by("tuning-leave").addEventListener("click", () => {
  for (const each of fields.values()) each.shown = undefined;
  showTuning(told.settings);
  say(by("tuning-error"), "");
});
by("frontend-name").addEventListener("change", showFrontendOf);
by("frontend").addEventListener("submit", (event) => {
  event.preventDefault();
  changeFrontend(putFrontend);
});
by("frontend-remove").addEventListener("click", () => {
  const name = by("frontend-name").value.trim();
  if (!name || confirm(t("Remove {name}?", { name }))) changeFrontend(() => admin("DELETE"));
});
// A page that is left may come back from the browser's memory as it was.
addEventListener("pagehide", () => (by("frontend-token").value = ""));
by("language").value = chosen();
by("language").addEventListener("change", () => {
  choose(by("language").value);
  location.reload();
});

let seen = "";
follow(async (status) => {
  const now = JSON.stringify([status.settings, status.features, status.wanted_features, status.backends.map((each) => each.id), status.frontends.map(({ requests, errors, refused, ...each }) => each)]);
  if (now !== seen) {
    seen = now;
    await refresh(load);
  }
  if (configuration !== null) showFrontends(status.frontends, configuration.named_in_file);
});
