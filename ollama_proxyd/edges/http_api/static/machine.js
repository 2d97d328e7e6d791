// The machine: what it is made of, and what its devices say now. Nothing here asks a device: it shows what was read.

import { follow, refresh } from "./frame.js";
import { amount, t } from "./i18n.js";
import { by, fill, icon, make, mark, say } from "./page.js";
import { bar, charge, facts, gaps } from "./pieces.js";
import { read } from "./stream.js";
import { hardware } from "./words.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const MOST_CORES = 256; // of each kind that are drawn
const UNITS = { temperature_celsius: "°C", power_watts: "W", utilisation_percent: "%", fan_percent: "%" };

let cpu = null;
const cards = new Map();

function size(bytes) {
  if (bytes === null) return null;
  if (bytes >= GIB) return `${amount(bytes / GIB)} GiB`;
  return bytes >= MIB ? `${amount(bytes / MIB)} MiB` : `${amount(bytes / 1024)} KiB`;
}

const counted = (value) => (value === null ? null : amount(value));

function showProcessor() {
  const kernel = t("the kernel does not tell it");
  const row = (name, value, note) => ({ name, text: counted(value), note: value === null ? kernel : note });
  const { performance_cores: fast, efficiency_cores: thrifty } = cpu;
  const isMixed = Boolean(fast && thrifty);
  const draw = (number, kind) => Array.from({ length: Math.min(number ?? 0, MOST_CORES) }, () => make("li", { "data-kind": kind, "aria-hidden": "true" }));
  fill(by("cores"), [fast, thrifty], () => [make("li", { class: "unseen" }, isMixed ? t("{fast} performance cores and {thrifty} efficiency cores", { fast, thrifty }) : t("{count} cores", { count: cpu.physical_cores ?? t("unknown") })), ...draw(fast ?? cpu.physical_cores, "P"), ...draw(thrifty, "E")]);
  facts("processor", [
    row(t("Performance cores"), fast, isMixed ? "" : t("there is one kind of core")),
    row(t("Efficiency cores"), thrifty),
    row(t("Threads"), cpu.logical_cores, cpu.allowed_cores === null ? "" : t("the control group allows {count}", { count: amount(cpu.allowed_cores) })),
    row(t("Packages"), cpu.packages),
    row(t("NUMA nodes"), cpu.numa_nodes),
  ]);
  fill(by("simd"), cpu.simd, () => cpu.simd.map((each) => make("li", { class: "chip" }, each)));
  by("simd-none").hidden = cpu.simd.length > 0;
  const kinds = { data: t("data"), instruction: t("instructions"), unified: "" };
  by("caches-none").hidden = cpu.caches.length > 0;
  facts("caches", cpu.caches.map((each) => ({ name: `L${each.level} ${kinds[each.kind] ?? each.kind}`, text: `${amount(each.instances)} × ${size(each.size_bytes)}` })));
  const cores = isMixed ? t("{fast} performance and {thrifty} efficiency cores", { fast, thrifty }) : t("{count} cores", { count: counted(cpu.physical_cores) ?? "?" });
  say(by("sum"), [cpu.model, cores, size(cpu.memory_bytes)].filter(Boolean).join(" · "));
}

function showMemory(system) {
  const free = system.memory_available_bytes;
  const total = cpu.memory_bytes;
  const limit = cpu.allowed_memory_bytes === null ? "" : t("the control group allows {size}", { size: size(cpu.allowed_memory_bytes) });
  facts("memory", [
    { name: t("Memory"), text: size(total), note: total === null ? t("the kernel does not tell it") : limit },
    { name: t("Available"), text: size(free), why: system.unknown.memory_available_bytes, share: free === null || !total ? null : free / total },
  ]);
}

function showPower(system) {
  const why = (name) => system.unknown[name];
  const with_ = (name, text, key) => ({ name, text, why: why(key) });
  const left = system.time_to_empty_seconds;
  const rate = system.battery_rate_watts;
  facts("power", [
    charge(system, why),
    with_(t("Drawn from the battery"), rate === null ? null : `${amount(rate)} W`, "battery_rate_watts"),
    ...(system.on_battery && left ? [{ name: t("Empty in"), text: t("{count} h", { count: amount(left / 3600) }) }] : []),
    { ...with_(t("Power profile"), system.power_profile, "power_profile"), note: system.performance_degraded ? t("held back: {reason}", { reason: system.performance_degraded }) : "" },
    { ...with_(t("Hottest"), system.hottest_celsius === null ? null : `${amount(system.hottest_celsius)} °C`, "hottest_celsius"), share: system.hottest_celsius === null ? null : system.hottest_celsius / 100 },
    { ...with_(t("Fan"), system.fan_percent === null ? null : `${amount(system.fan_percent)} %`, "fan_percent"), share: system.fan_percent === null ? null : system.fan_percent / 100 },
  ]);
}

function stateOf(device) {
  const states = { awake: ["idle", t("awake"), "good"], asleep: ["asleep", t("asleep"), "asleep"], unknown: ["unknown", t("not known whether it is awake"), "off"] };
  if (device.throttling) return ["hot", t("throttled: {reason}", { reason: "" }), "warm", device.throttling];
  return states[device.power_state] ?? states.unknown;
}

function newCard() {
  const parts = { icon: make("span", { class: "hardware" }), name: make("h3"), kind: make("p", { class: "quiet small" }), state: make("span", { class: "chip" }), figures: make("dl", { class: "figures" }), memory: make("p", { class: "small" }), backends: make("ul", { class: "models", "aria-label": t("Backends") }), gaps: make("details", { class: "gaps" }) };
  parts.item = make("li", { class: "card backend" }, make("div", { class: "card-head" }, parts.icon, make("div", { class: "names" }, parts.name, parts.kind)), make("p", {}, parts.state), parts.figures, parts.memory, parts.backends, parts.gaps);
  return parts;
}

function figures(device) {
  const critical = device.critical_celsius === null ? "" : t("limit {count} °C", { count: amount(device.critical_celsius) });
  const turns = device.fan_rpm === null ? "" : t("{count} a minute", { count: amount(device.fan_rpm) });
  const rows = [["temperature_celsius", t("Heat"), critical], ["power_watts", t("Draws"), ""], ["utilisation_percent", t("Busy"), ""]];
  if (device.fan_percent !== null || turns) rows.push(["fan_percent", t("Fan"), turns]);
  return rows.map(([key, name, note]) => [name, device[key], UNITS[key], note]);
}

function figure([name, value, unit, note]) {
  const told = value === null ? [make("span", { class: "quiet" }, t("unknown"))] : [make("b", {}, amount(value)), ` ${unit}`];
  return make("div", {}, make("dt", {}, name), make("dd", {}, ...told, ...(note ? [make("small", { class: "quiet" }, note)] : [])));
}

function showDevice(parts, device) {
  const kind = hardware(device.hardware);
  const [picture, word, look, why] = stateOf(device);
  fill(parts.icon, kind.icon, () => [icon(kind.icon)]);
  say(parts.name, device.name || device.id);
  say(parts.kind, [kind.word, device.id === device.hardware ? "" : device.id].filter(Boolean).join(" · "));
  fill(parts.state, [picture, word, why], () => [icon(picture), word, ...(why ? [make("span", { lang: "en" }, why)] : [])]);
  mark(parts.state, "data-look", look);
  const isAsleep = device.power_state === "asleep";
  parts.figures.hidden = isAsleep;
  const shown = figures(device);
  fill(parts.figures, shown, () => shown.map(figure));
  const { memory_used_bytes: used, memory_total_bytes: total } = device;
  parts.memory.hidden = isAsleep || total === null;
  fill(parts.memory, [used, total], () => (total === null ? [] : [t("{used} of {total} in use", { used: size(used) ?? "?", total: size(total) }), bar((used ?? 0) / total, "plain")]));
  parts.backends.hidden = device.backends.length === 0;
  fill(parts.backends, device.backends, () => device.backends.map((each) => make("li", {}, make("bdi", {}, each))));
  showGaps(parts.gaps, device);
}

const NAMES = { temperature_celsius: t("Heat"), critical_celsius: t("limit of heat"), slope_celsius_per_second: t("rise of heat"), fan_percent: t("Fan"), fan_rpm: t("turns of the fan"), power_watts: t("Draws"), energy_joules: t("energy counter"), utilisation_percent: t("Busy"), memory_used_bytes: t("memory in use"), memory_total_bytes: t("Memory"), throttling: t("throttling") };

function showGaps(place, device) {
  place.hidden = Object.keys(device.unknown).length === 0;
  fill(place, device.unknown, () => gaps(device.unknown, NAMES));
}

function showDevices(devices) {
  const list = by("devices");
  for (const [id, parts] of cards) if (!devices.some((each) => each.id === id)) { parts.item.remove(); cards.delete(id); }
  devices.forEach((device, at) => {
    if (!cards.has(device.id)) cards.set(device.id, newCard());
    const parts = cards.get(device.id);
    if (list.children[at] !== parts.item) list.insertBefore(parts.item, list.children[at] ?? null);
    showDevice(parts, device);
  });
  by("devices-none").hidden = devices.length > 0;
}

async function begin() {
  cpu = (await read("/machine")).cpu;
  showProcessor();
}

follow(async (status) => {
  if (cpu === null) await refresh(begin);
  showDevices(status.devices);
  showPower(status.system);
  if (cpu !== null) showMemory(status.system);
});
