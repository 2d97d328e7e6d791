// Numbers and states in the words that people read; nothing here touches the page.

import { amount, t } from "./i18n.js";

const JOULES_PER_WH = 3600;
const LEAST_WH = 0.01;
const LEAST_MWH = 0.01;

export const number = amount;

/** What a single answer needs. */
export function joules(needed) {
  return `${number(needed)} J`;
}

/** A sum over time, in the unit of batteries. */
export function energy(sum_j) {
  const wh = sum_j / JOULES_PER_WH;
  if (Math.abs(wh) >= LEAST_WH || wh === 0) return `${number(wh)} Wh`;
  const mwh = 1000 * wh;
  return Math.abs(mwh) >= LEAST_MWH ? `${number(Number(mwh.toPrecision(2)))} mWh` : `${mwh < 0 ? "-" : ""}<${number(LEAST_MWH)} mWh`;
}

/** From where a sum is known, and how far it may be wrong: "estimated ±50 %". */
export function known(sums, what) {
  const [source, sum_j, error_j] = ["source", "joules", "error_joules"].map((part) => sums[`${what}_${part}`]);
  return source && sum_j ? `${t(source)} ±${Math.round((100 * error_j) / Math.abs(sum_j))} %` : t(source ?? "");
}

/** The day's budget, and what its end means; nothing where there is no limit. */
export function budget({ limit_watt_hours, spent_watt_hours, reason, incomplete }) {
  if (limit_watt_hours === null) return "";
  const spent = spent_watt_hours >= 0.001 ? number(spent_watt_hours) : "0";
  return [`${spent} of ${number(limit_watt_hours)} Wh of the day's budget`, reason, incomplete?.reason].filter(Boolean).join("; ") + ".";
}

function difference(saved_j, less, more) {
  if (number(Math.abs(saved_j)) === "0") return `nothing ${less}`;
  return `${energy(Math.abs(saved_j))} ${saved_j > 0 ? less : more}`;
}

/** What the power profile brought that thrifty answers may hold; nothing where it was not held. */
export function powerSaver({ held, answers, saved_joules }) {
  const brought = `${difference(saved_joules, "saved", "more than under balanced")} by ${count(answers, "answer")} since the start, measured`;
  const parts = [...(held ? ["held now"] : []), ...(answers ? [brought] : [])];
  return parts.length ? `Profile power-saver: ${parts.join("; ")}.` : "";
}

/** What unloading unused models early has saved; nothing where none was. */
export function unloading({ models, saved_joules }) {
  return models ? `Unloading: ${difference(saved_joules, "saved", "more than left in memory")} by ${count(models, "model")} since the start, estimated.` : "";
}

const SOURCES = ["measured", "attributed", "estimated"];

function bookRow(name, row) {
  const source = row.energy_source ?? SOURCES.filter((each) => row[`${each}_joules`]).join(" and ");
  const share = row.battery_percent === null ? "" : row.battery_percent > 0 && row.battery_percent < 0.1 ? "<0.1 %" : `${row.battery_percent.toFixed(1)} %`;
  const answers = row.answers === undefined ? "" : row.answers.toLocaleString("en");
  return [name, energy(row.energy_joules), share, row.money_spent ? spent(row) : "", answers, known({ ...row, energy_source: source, energy_error_joules: row.error_joules }, "energy")];
}

function bookName({ key, known_by }, by) {
  if (!key) return "not known";
  return by === "app" && known_by === "guess" ? `${key}, by its own word` : key;
}

/** The books as a table: heads and rows, without the columns that are empty in all of them. */
export function books(told) {
  const share = (sum_j) => (told.battery_joules === null ? null : (100 * sum_j) / told.battery_joules);
  const sum = (what) => ({ energy_joules: told[`${what}_joules`], error_joules: told[`${what}_error_joules`], energy_source: told[`${what}_source`], battery_percent: share(told[`${what}_joules`]) });
  const rows = told.rows.map((row) => bookRow(bookName(row, told.by), row));
  if (told.idle_tail_joules) rows.push(bookRow("idle, models in memory", sum("idle_tail")));
  rows.push(bookRow("together", { ...told.total, ...sum("day") }));
  const heads = [told.by, "energy", "battery", "money", "answers", "known"];
  const shown = heads.map((_, at) => at === 0 || rows.some((row) => row[at] !== ""));
  const cut = (row) => row.filter((_, at) => shown[at]);
  const why = [told.unknown.battery_percent && `Percent of the battery: unknown: ${told.unknown.battery_percent.reason}.`, told.history.reason && `${told.history.reason}.`];
  return { heads: cut(heads), rows: rows.map(cut), notes: why.filter(Boolean) };
}

export function count(amount, noun) {
  return `${amount.toLocaleString("en")} ${noun}${amount === 1 ? "" : "s"}`;
}

/** What a backend does, or why it cannot: an icon, a word, and how it looks. */
export function state(backend) {
  if (!backend.enabled) return { icon: "off", word: "switched off", look: "off" };
  if (backend.health === "down") return { icon: "down", word: "down", look: "bad" };
  if (backend.health === "failing") return { icon: "down", word: "failing", look: "bad" };
  if (backend.health !== "up") return { icon: "unknown", word: "not checked yet", look: "off" };
  if (backend.off) return { icon: "asleep", word: "off until asked", look: "asleep" };
  if (backend.reason) return { icon: "down", word: "degraded", look: "warm" };
  if (backend.in_flight) return { icon: "busy", word: `serving ${backend.in_flight}`, look: "busy" };
  if (backend.outside_mode) return { icon: backend.too_hot ? "hot" : "off", word: backend.outside_mode.reason, look: "warm" };
  if (backend.too_hot) return { icon: "hot", word: "too hot", look: "warm" };
  return backend.asleep ? { icon: "asleep", word: "asleep", look: "asleep" } : { icon: "idle", word: "ready", look: "good" };
}

const HARDWARE = {
  npu: ["npu", "NPU"],
  igpu: ["igpu", "Integrated GPU"],
  nvidia: ["gpu", "NVIDIA GPU"],
  amdgpu: ["gpu", "AMD GPU"],
  cpu: ["cpu", "CPU"],
};

export function hardware(name) {
  const [icon, word] = HARDWARE[name] ?? ["unknown", "Hardware unknown"];
  return { icon, word };
}

export function limits(row) {
  const parts = [
    [row.max_power_watts, (value) => `at most ${number(value)} W`],
    [row.max_temperature_celsius, (value) => `up to ${number(value)} °C`],
    [row.max_fan_percent, (value) => `fan up to ${number(value)} %`],
    [row.max_concurrency, (value) => count(value, "request") + " at once"],
    [row.max_wait_seconds, (value) => `waits up to ${number(value)} s`],
  ];
  return parts.filter(([value]) => value !== null).map(([value, say]) => say(value)).join(", ");
}

/** How many of the backends can serve, and how many of those before the others. */
export function serving(backends) {
  if (!backends.length) return "";
  const up = backends.filter((each) => each.health === "up");
  const within = up.filter((each) => !each.outside_mode).length;
  const others = within === up.length ? "" : `; ${within} of ${up.length} are within this mode, the others serve only if these cannot`;
  return `${up.length} of ${backends.length} can serve${others}`;
}

/** The requests that wait, by priority, and those for the charger; nothing where none does. */
export function queue({ by_priority, oldest_wait_seconds, deferred }) {
  const counts = ["critical", "high", "normal", "best-effort"].filter((each) => by_priority[each]).map((each) => `${by_priority[each]} ${each}`);
  const oldest = counts.length && oldest_wait_seconds !== null ? [`the oldest for ${number(oldest_wait_seconds)} s`] : [];
  const later = deferred ? [`${deferred} for the charger`] : [];
  const parts = [...counts, ...oldest, ...later];
  return parts.length ? `Waiting: ${parts.join(", ")}` : "";
}

/** A backend's watts under load; a guess is called one. */
export function rated(backend) {
  const guess = backend.unknown?.rated_power_watts?.reason_details.power_watts;
  if (backend.rated_power_watts !== null) return `rated ${number(backend.rated_power_watts)} W`;
  return guess === undefined ? "" : `about ${number(guess)} W, guessed`;
}

export function about(row) {
  if (row.mode === "Auto") return `${row.description}.`;
  const price = `A second of waiting is worth ${number(row.price_of_time_watts)} W`;
  const most = limits(row);
  return `${row.description}. ${price}; ${most || "no limits"}.`;
}

/** What services took today, each currency with its amount. */
export function spent(today) {
  return Object.entries(today.money_spent).map(([currency, amount]) => `${number(amount)} ${currency}`).join(", ");
}

export function saved(today) {
  if (today.compared === null) return null;
  const over = today.compared === today.requests ? "" : `, over ${count(today.compared, "request")}`;
  const saved_j = today.saved_joules;
  if (number(Math.abs(saved_j)) === "0") return { text: `Nothing saved against Performance${over}.`, look: "same" };
  const text = difference(saved_j, "saved against Performance", "more than under Performance");
  return { text: `${text}${over}.`, look: saved_j > 0 ? "less" : "more" };
}

const ENDS = { ok: "answered", cancelled: "client left" };

export function ended(word) {
  return word === null ? "under way" : (ENDS[word] ?? word.replaceAll("_", " "));
}

function power(system) {
  if (system.on_battery === null) return null;
  const state = system.on_battery ? "On battery" : "On mains power";
  return system.battery_percent === null ? state : `${state}, ${number(system.battery_percent)} %`;
}

const QUIET = new Map([[true, "now"], [false, "not now"], [null, null]]);

/** What the sensors say: a name, a text or null, a share from 0 to 1 for a bar, and why there is nothing. */
export function machine(system) {
  const profile = system.power_profile && system.power_profile + (system.performance_degraded ? `, held back: ${system.performance_degraded}` : "");
  const amount = (value, unit) => (value === null ? null : `${number(value)} ${unit}`);
  const share = (value) => (value === null ? null : value / 100);
  const rows = [
    ["Power", power(system), share(system.battery_percent), system.unknown.on_battery?.reason],
    ["Profile", profile, null, system.unknown.power_profile?.reason],
    ["Heat", amount(system.hottest_celsius, "°C"), share(system.hottest_celsius), system.unknown.hottest_celsius?.reason],
    ["Fan", amount(system.fan_percent, "%"), share(system.fan_percent), system.unknown.fan_percent?.reason],
    ["Quiet hours", QUIET.get(system.quiet_hours), null, system.unknown.quiet_hours?.reason],
  ];
  return system.games ? [...rows, ["Games", `${system.games} running`, null, null]] : rows;
}
