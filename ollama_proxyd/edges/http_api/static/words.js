// Numbers and states in the words that people read; nothing here touches the page.

import { amount, locale, t } from "./i18n.js";
import { phrase } from "./reasons.js";

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
export function budget({ limit_watt_hours, spent_watt_hours, incomplete, ...told }) {
  if (limit_watt_hours === null) return "";
  const spent = spent_watt_hours >= 0.001 ? number(spent_watt_hours) : "0";
  const used = t("{spent} of {limit} Wh of the day's budget", { spent, limit: number(limit_watt_hours) });
  return `${[used, phrase(told).text, phrase(incomplete).text].filter(Boolean).join("; ")}.`;
}

/** One of three sentences: what was saved, what was spent more, or that there is no difference. */
function difference(saved_j, { less, more, none }) {
  if (number(Math.abs(saved_j)) === "0") return none;
  return (saved_j > 0 ? less : more).replace("{energy}", energy(Math.abs(saved_j)));
}

const answers = (amount) => (amount === 1 ? t("1 answer") : t("{count} answers", { count: number(amount) }));

/** What the power profile brought that thrifty answers may hold; nothing where it was not held. */
export function powerSaver({ held, answers: many, saved_joules }) {
  const values = { answers: answers(many) };
  const says = {
    less: t("{energy} saved by {answers} since the start, measured", values),
    more: t("{energy} more than under balanced by {answers} since the start, measured", values),
    none: t("nothing saved by {answers} since the start, measured", values),
  };
  const parts = [...(held ? [t("held now")] : []), ...(many ? [difference(saved_joules, says)] : [])];
  return parts.length ? t("Profile power-saver: {parts}.", { parts: parts.join("; ") }) : "";
}

/** What unloading unused models early has saved; nothing where none was. */
export function unloading({ models: many, saved_joules }) {
  const values = { models: many === 1 ? t("1 model") : t("{count} models", { count: number(many) }) };
  const says = {
    less: t("Unloading: {energy} saved by {models} since the start, estimated.", values),
    more: t("Unloading: {energy} more than left in memory by {models} since the start, estimated.", values),
    none: t("Unloading: nothing saved by {models} since the start, estimated.", values),
  };
  return many ? difference(saved_joules, says) : "";
}

const SOURCES = ["measured", "attributed", "estimated"];

function bookRow(name, row) {
  const source = row.energy_source ?? SOURCES.filter((each) => row[`${each}_joules`]).map((each) => t(each)).join(t(" and "));
  const many = row.answers === undefined ? "" : number(row.answers);
  return [name, energy(row.energy_joules), percent(row.battery_percent, ""), row.money_spent ? spent(row) : "", many, known({ ...row, energy_source: source, energy_error_joules: row.error_joules }, "energy")];
}

function bookName({ key, known_by }, by) {
  if (!key) return t("not known");
  if (by === "mode") return t(key.replace(/(?<=[a-z])(?=[A-Z])/g, " "));
  return by === "app" && known_by === "guess" ? t("{name}, by its own word", { name: key }) : key;
}

/** A share of the battery; `none` where it is not known. */
export function percent(share, none = "–") {
  if (share === null) return none;
  return share > 0 && share < 0.1 ? `<${number(0.1)} %` : `${number(Math.round(10 * share) / 10)} %`;
}

const BY = () => ({ app: t("Program"), model: t("Model"), backend: t("Backend"), day: t("Day"), mode: t("Mode") });

/** The books as a table: heads and rows, without the columns that are empty in all of them. */
export function books(told) {
  const share = (sum_j) => (told.battery_joules === null ? null : (100 * sum_j) / told.battery_joules);
  const sum = (what) => ({ energy_joules: told[`${what}_joules`], error_joules: told[`${what}_error_joules`], energy_source: told[`${what}_source`], battery_percent: share(told[`${what}_joules`]) });
  const rows = told.rows.map((row) => bookRow(bookName(row, told.by), row));
  if (told.idle_tail_joules) rows.push(bookRow(t("idle, models in memory"), sum("idle_tail")));
  rows.push(bookRow(t("together"), { ...told.total, ...sum("day") }));
  const heads = [BY()[told.by] ?? told.by, t("Energy"), t("of the battery"), t("Money"), t("Answers"), t("Known")];
  const shown = heads.map((_, at) => at === 0 || rows.some((row) => row[at] !== ""));
  const cut = (row) => row.filter((_, at) => shown[at]);
  const gap = told.unknown.battery_percent;
  const why = [gap && t("Percent of the battery: unknown: {reason}.", { reason: phrase(gap).text }), told.history.reason && `${phrase(told.history).text}.`];
  return { heads: cut(heads), rows: rows.map(cut), notes: why.filter(Boolean) };
}

/** What a backend does, or why it cannot: an icon, a word, and how it looks. */
export function state(backend) {
  if (!backend.enabled) return { icon: "off", word: t("switched off"), look: "off" };
  if (backend.health === "down") return { icon: "down", word: t("down"), look: "bad" };
  if (backend.health === "failing") return { icon: "down", word: t("failing"), look: "bad" };
  if (backend.health !== "up") return { icon: "unknown", word: t("not checked yet"), look: "off" };
  if (backend.off) return { icon: "asleep", word: t("off until asked"), look: "asleep" };
  if (backend.reason) return { icon: "down", word: t("degraded"), look: "warm" };
  if (backend.resting_until_unix_seconds) return { icon: "off", word: t("resting until {time}", { time: new Date(1000 * backend.resting_until_unix_seconds).toLocaleTimeString(locale) }), look: "warm" };
  if (backend.in_flight) return { icon: "busy", word: t("serving {count}", { count: number(backend.in_flight) }), look: "busy" };
  if (backend.outside_mode) return { icon: backend.too_hot ? "hot" : "off", word: phrase(backend.outside_mode).text, look: "warm", lang: phrase(backend.outside_mode).lang };
  if (backend.too_hot) return { icon: "hot", word: t("too hot"), look: "warm" };
  return backend.asleep ? { icon: "asleep", word: t("asleep"), look: "asleep" } : { icon: "idle", word: t("ready"), look: "good" };
}

const HARDWARE = {
  npu: ["npu", "NPU"],
  igpu: ["igpu", t("Integrated GPU")],
  nvidia: ["gpu", "NVIDIA GPU"],
  amdgpu: ["gpu", "AMD GPU"],
  cpu: ["cpu", "CPU"],
};

export function hardware(name) {
  const [icon, word] = HARDWARE[name] ?? ["unknown", t("Hardware unknown")];
  return { icon, word };
}

export function limits(row) {
  const most = row.max_concurrency;
  const parts = [
    [row.max_power_watts, () => t("at most {count} W", { count: number(row.max_power_watts) })],
    [row.max_temperature_celsius, () => t("up to {count} °C", { count: number(row.max_temperature_celsius) })],
    [row.max_fan_percent, () => t("fan up to {count} %", { count: number(row.max_fan_percent) })],
    [most, () => (most === 1 ? t("1 request at once") : t("{count} requests at once", { count: number(most) }))],
    [row.max_wait_seconds, () => t("waits up to {count} s", { count: number(row.max_wait_seconds) })],
  ];
  return parts.filter(([value]) => value !== null).map(([, say]) => say()).join(", ");
}

/** How many of the backends can serve, and how many of those before the others. */
export function serving(backends) {
  if (!backends.length) return "";
  const up = backends.filter((each) => each.health === "up");
  const within = up.filter((each) => !each.outside_mode).length;
  const all = t("{count} of {all} can serve", { count: up.length, all: backends.length });
  if (within === up.length) return all;
  return `${all}; ${t("{count} of {all} are within this mode, the others serve only if these cannot", { count: within, all: up.length })}`;
}

/** The requests that wait, by priority, and those for the charger; nothing where none does. */
export function queue({ by_priority, oldest_wait_seconds, deferred }) {
  const names = { critical: t("critical"), high: t("high"), normal: t("normal"), "best-effort": t("best-effort") };
  const counts = Object.keys(names).filter((each) => by_priority[each]).map((each) => `${number(by_priority[each])} ${names[each]}`);
  const oldest = counts.length && oldest_wait_seconds !== null ? [t("the oldest for {count} s", { count: number(oldest_wait_seconds) })] : [];
  const later = deferred ? [t("{count} for the charger", { count: number(deferred) })] : [];
  const parts = [...counts, ...oldest, ...later];
  return parts.length ? t("Waiting: {parts}", { parts: parts.join(", ") }) : "";
}

/** A backend's watts under load; a guess is called one. */
export function rated(backend) {
  const guess = backend.unknown?.rated_power_watts?.reason_details.power_watts;
  if (backend.rated_power_watts !== null) return t("rated {count} W", { count: number(backend.rated_power_watts) });
  return guess === undefined ? "" : t("about {count} W, guessed", { count: number(guess) });
}

export function about(row) {
  if (row.mode === "Auto") return `${t(row.description)}.`;
  const price = t("A second of waiting is worth {count} W", { count: number(row.price_of_time_watts) });
  return `${t(row.description)}. ${price}; ${limits(row) || t("no limits")}.`;
}

/** What services took today, each currency with its amount. */
export function spent(today) {
  return Object.entries(today.money_spent).map(([currency, amount]) => `${number(amount)} ${currency}`).join(", ");
}

export function saved({ compared, requests, saved_joules: saved_j }) {
  if (compared === null) return null;
  const over = compared === 1 ? t(", over 1 request") : t(", over {count} requests", { count: number(compared) });
  const values = { over: compared === requests ? "" : over };
  const text = difference(saved_j, {
    less: t("{energy} saved against Performance{over}.", values),
    more: t("{energy} more than under Performance{over}.", values),
    none: t("Nothing saved against Performance{over}.", values),
  });
  return { text, look: number(Math.abs(saved_j)) === "0" ? "same" : saved_j > 0 ? "less" : "more" };
}

/** How a request ended; null while it is under way. */
export function ended(word) {
  const words = { ok: t("answered"), cancelled: t("client left") };
  return word === null ? t("under way") : (words[word] ?? word.replaceAll("_", " "));
}

function power(system) {
  if (system.on_battery === null) return null;
  const state = system.on_battery ? t("On battery") : t("On mains power");
  return system.battery_percent === null ? state : `${state}, ${number(system.battery_percent)} %`;
}

/** What the sensors say: a name, a text or null, a share from 0 to 1 for a bar, and why there is nothing. */
export function machine(system) {
  const held = system.performance_degraded ? `, ${t("held back: {reason}", { reason: system.performance_degraded })}` : "";
  const measured = (value, unit) => (value === null ? null : `${number(value)} ${unit}`);
  const share = (value) => (value === null ? null : value / 100);
  const why = (name) => system.unknown[name];
  const quiet = system.quiet_hours === null ? null : system.quiet_hours ? t("now") : t("not now");
  const rows = [
    [t("Power"), power(system), share(system.battery_percent), why("on_battery")],
    [t("Profile"), system.power_profile && system.power_profile + held, null, why("power_profile")],
    [t("Heat"), measured(system.hottest_celsius, "°C"), share(system.hottest_celsius), why("hottest_celsius")],
    [t("Fan"), measured(system.fan_percent, "%"), share(system.fan_percent), why("fan_percent")],
    [t("Quiet hours"), quiet, null, why("quiet_hours")],
  ];
  return system.games ? [...rows, [t("Games"), t("{count} running", { count: number(system.games) }), null, null]] : rows;
}
