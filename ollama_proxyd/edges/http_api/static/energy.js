// Energy: the last day in hours or the last thirty days, whose it was, what was saved, and how each sum is known.

import { clock, shapes, stacks } from "./chart.js";
import { follow, refresh } from "./frame.js";
import { amount, locale, t } from "./i18n.js";
import { by, make, mark, say } from "./page.js";
import { charge, facts, table } from "./pieces.js";
import { tell } from "./reasons.js";
import { read } from "./stream.js";
import { energy, known, percent } from "./words.js";

const EVERY_MS = 10000; // the books are read from a file, which need not be done for each answer
const SOURCES = ["measured", "attributed", "estimated"];
const ACCOUNTS = ["active", "idle_tail", "base"];
const NO_PARTS = { backend: "Backends", model: "Models", app: "Programs" };

let status = null;
let turn = 0;

/** What is shown is in the address, so that a reload and a bookmark show it again. */
function wish() {
  const words = location.hash.slice(1).split(",");
  const of = (id, otherwise) => [...by(id).children].map((each) => each.dataset.value).find((each) => words.includes(each)) ?? otherwise;
  return { over: of("over", "day"), by: of("by", "backend") };
}

function showChoices() {
  for (const [id, chosen] of Object.entries(wish())) for (const each of by(id).children) mark(each, "aria-pressed", each.dataset.value === chosen);
}

function dayName(day, options = { day: "numeric", month: "short" }) {
  return new Date(`${day}T12:00`).toLocaleDateString(locale, options);
}

const when = (column) => (column.day ? dayName(column.day) : clock(column.unix_seconds));

function partName(key, kind) {
  if (kind === "app" && key === "") return t("not known");
  return key === "others" ? t("others") : key;
}

async function load() {
  const asked = wish();
  const own = ++turn;
  const [told, drawn] = await Promise.all([read(`/energy/series?over=${asked.over}&by=${asked.by}`), asked.over === "day" ? read("/energy?days=1") : null]);
  if (own !== turn) return;
  showChoices();
  showChart(told, asked);
  showRows(told, asked);
  showSaved(told);
  showKnown(told.total);
  showDevices(drawn ?? told, asked);
  showBattery(told);
}

function showChart(told, { over, by: kind }) {
  const view = stacks(told.columns, { energy, when, name: (key) => partName(key, kind) });
  const span = over === "day" ? t("the last 24 hours") : t("the last 30 days");
  const sum = { energy_joules: view.total, energy_error_joules: view.error, energy_source: worst(told.total) };
  const error = known(sum, "energy");
  say(by("sum"), view.total > 0 ? t("{energy} for answers in {span}, {known}.", { energy: energy(view.total), span, known: error }) : t("No answers in {span}.", { span }));
  say(by("chart-title"), over === "day" ? t("Hour by hour") : t("Day by day"));
  const most = energy(view.most);
  say(by("chart-says"), view.most > 0 ? (over === "day" ? t("at most {energy} an hour", { energy: most }) : t("at most {energy} a day", { energy: most })) : "");
  by("chart").replaceChildren(...shapes(view));
  const step = told.columns.length / 4;
  by("chart-axis").replaceChildren(...[0, 1, 2, 3].map((at) => make("span", {}, when(told.columns[Math.floor(at * step)]))));
  const swatch = (look) => make("span", { class: "swatch", "data-look": look });
  by("chart-legend").replaceChildren(
    ...view.parts.map(({ id, text, look }) => make("li", {}, swatch(look), make("bdi", {}, id), ` ${text}`)),
    ...(view.total > 0 ? [make("li", {}, t("the paler, the less surely known"))] : []));
  showColumns(told.columns);
}

function showColumns(columns) {
  const rows = columns.filter((each) => each.energy_joules > 0).map((each) => [when(each), energy(each.energy_joules), known(each, "energy")]);
  table("columns", [t("Time"), t("Energy"), t("Known")], rows);
}

function worst(cost) {
  return SOURCES.findLast((source) => cost[`${source}_joules`] > 0) ?? null;
}

function knownOf(cost) {
  return known({ energy_source: worst(cost), energy_joules: cost.energy_joules, energy_error_joules: cost.error_joules }, "energy");
}

function savedOf(cost) {
  if (cost.saved_joules === null) return "–";
  return energy(cost.saved_joules);
}

function showRows(told, { by: kind }) {
  say(by("rows-title"), t(NO_PARTS[kind]));
  const share = (cost) => (told.battery_joules === null ? [] : [percent(cost.battery_percent)]);
  const cells = (cost) => [energy(cost.energy_joules), ...share(cost), savedOf(cost), amount(cost.answers), amount(cost.completion_tokens), knownOf(cost)];
  const name = (row) => (row.known_by === "guess" ? t("{name}, by its own word", { name: row.key }) : partName(row.key, kind));
  const rows = told.rows.map((row) => [name(row), ...cells(row)]);
  table("rows", [t("Name"), t("Energy"), ...(told.battery_joules === null ? [] : [t("of the battery")]), t("Saved"), t("Answers"), t("Tokens"), t("Known")], [...rows, [t("together"), ...cells(told.total)]]);
  by("trouble").hidden = !told.history.reason;
  tell(by("trouble"), told.history);
}

function showSaved(told) {
  const { saved_joules: saved_j, compared } = told.total;
  const against = saved_j === null ? t("no answer was compared") : t("over {count} answers, estimated", { count: amount(compared) });
  const rows = [{ name: t("Against Performance"), text: saved_j === null ? null : energy(saved_j), note: against }];
  if (told.cached_answers) rows.push({ name: t("Answers given again"), text: energy(told.cache_saved_joules), note: t("{count} from memory", { count: amount(told.cached_answers) }) });
  const { power_saver: saver, unloading } = status;
  rows.push({ name: t("Power profile"), text: energy(saver.saved_joules), note: t("{count} answers under power-saver since the start", { count: amount(saver.answers) }) });
  rows.push({ name: t("Unloading early"), text: energy(unloading.saved_joules), note: t("{count} models since the start, estimated", { count: amount(unloading.models) }) });
  facts("saved", rows);
}

function showKnown(total) {
  const says = {
    measured: t("by the counter of the device that did the work"),
    attributed: t("a measured sum, shared among what ran beside each other"),
    estimated: t("by watts and time; no instrument was there"),
  };
  const share = (source) => (total.energy_joules > 0 ? ` · ${Math.round((100 * total[`${source}_joules`]) / total.energy_joules)} %` : "");
  const rows = SOURCES.map((source) => ({ name: t(source), text: `${energy(total[`${source}_joules`])}${share(source)}`, note: says[source] }));
  facts("known", [...rows, { name: t("may be wrong by"), text: `± ${energy(total.error_joules)}` }]);
}

function showBattery(told) {
  const { system } = status;
  const why = (name) => system.unknown[name];
  const full = told.battery_joules;
  const rows = [charge(system, why)];
  if (system.battery_percent !== null || full !== null) rows.push({ name: t("Holds when full"), text: full === null ? null : energy(full), why: told.unknown.battery_percent });
  if (system.battery_rate_watts !== null) rows.push({ name: t("Now"), text: `${amount(Math.abs(system.battery_rate_watts))} W`, note: system.on_battery ? t("drawn from it") : t("into it") });
  if (full !== null) rows.push({ name: t("Answers took"), text: percent(told.total.battery_percent), note: t("of a full battery, in the time above") });
  facts("battery", rows);
}

function nameOf(device) {
  return status.devices.find((each) => each.id === device)?.name ?? (device === "machine" ? t("the rest of the machine") : device);
}

function showDevices({ devices }, { over }) {
  say(by("devices-when"), over === "day" ? t("today") : t("30 days"));
  by("devices-none").hidden = devices.length > 0;
  by("devices").hidden = devices.length === 0;
  const names = [...new Set(devices.map((each) => each.device))];
  const of = (device, account) => {
    const mine = devices.filter((each) => each.device === device && each.account === account);
    const sum = (field) => mine.reduce((all, each) => all + each[field], 0);
    if (!mine.length) return "–";
    const source = SOURCES.findLast((word) => mine.some((each) => each.source === word));
    return `${energy(sum("energy_joules"))}, ${known({ energy_source: source, energy_joules: sum("energy_joules"), energy_error_joules: sum("error_joules") }, "energy")}`;
  };
  table("devices", [t("Device"), t("Answers"), t("Idle tail"), t("Base")], names.map((device) => [nameOf(device), ...ACCOUNTS.map((account) => of(device, account))]));
}

for (const id of ["over", "by"])
  by(id).addEventListener("click", ({ target }) => {
    if (target.dataset.value) history.replaceState(null, "", `#${Object.values({ ...wish(), [id]: target.dataset.value }).join(",")}`);
    showChoices();
    refresh(load);
  });
window.addEventListener("hashchange", () => refresh(load));

let seen = "";
let timer = null;
follow((now) => {
  const isFirst = status === null;
  status = now;
  const key = JSON.stringify([now.today.requests, now.today.idle_tail_joules, now.system.battery_percent, now.system.on_battery, new Date().getHours()]);
  if (key === seen || timer !== null) return;
  seen = key;
  timer = setTimeout(() => { timer = null; refresh(load); }, isFirst ? 0 : EVERY_MS);
});
showChoices();
