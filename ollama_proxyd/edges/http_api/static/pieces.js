// What several pages are made of: bars, facts with the reason of each gap, tables.

import { amount, t } from "./i18n.js";
import { by, fill, make } from "./page.js";
import { phrase } from "./reasons.js";

export function bar(share, look) {
  const inner = make("span", { class: "fill" });
  inner.style.inlineSize = `${Math.round(Math.min(Math.max(share, 0), 1) * 100)}%`;
  return make("span", { class: "bar", "data-look": look, "aria-hidden": "true" }, inner);
}

/** Facts: a name, a text or null where it is not known, then `why`, a reason; a note, and a share for a bar. */
export function facts(id, rows) {
  fill(by(id), rows, () => rows.flatMap(({ name, text, note, why, share = null }) => {
    const told = text === null ? [make("span", { class: "quiet" }, t("unknown"))] : [make("bdi", {}, text)];
    if (text === null && why) told.push(make("small", { class: "quiet", lang: phrase(why).lang }, phrase(why).text));
    if (note) told.push(make("small", { class: "quiet" }, note));
    if (text !== null && share !== null) told.push(bar(share, "plain"));
    return [make("dt", {}, name), make("dd", {}, ...told)];
  }));
}

/** How full the battery is, and whether it is in use. */
export function charge(system, why) {
  const place = system.on_battery === null ? "" : system.on_battery ? t("on battery") : t("on mains");
  const percent = system.battery_percent;
  return { name: t("Charge"), text: percent === null ? null : `${amount(percent)} %`, why: why("battery_percent"), note: place, share: percent === null ? null : percent / 100 };
}

/** Texts in rows, the first of each its name. */
export function table(id, heads, rows) {
  const line = (kind, cells) => make("tr", {}, ...cells.map((cell, at) => (at ? make(kind, {}, cell) : make("th", { scope: kind === "th" ? "col" : "row" }, make("bdi", {}, cell)))));
  fill(by(id), [heads, rows], () => [make("thead", {}, line("th", heads)), make("tbody", {}, ...rows.map((row) => line("td", row)))]);
}

/** Why values are not known: each reason once, with the names of those that it is about. */
export function gaps(unknown, names) {
  const reasons = new Map();
  for (const [key, told] of Object.entries(unknown)) {
    const { text, lang } = phrase(told);
    reasons.set(text, { lang, of: [...(reasons.get(text)?.of ?? []), names[key] ?? key] });
  }
  const lines = [...reasons].map(([text, { lang, of }]) => make("p", {}, `${of.join(", ")}: `, make("span", { lang }, text)));
  return [make("summary", {}, t("Why is something unknown?")), ...lines];
}
