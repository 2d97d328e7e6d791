// The table of a decision: each backend that was asked for its price, with every term, and why others cannot.

import { amount, t } from "./i18n.js";
import { make } from "./page.js";
import { phrase, phrases } from "./reasons.js";

const UNITS = { joules: "J", ms: "ms", watts: "W", seconds: "s" };

const OWN = new Set(["cost_joules", "energy_joules", "time_seconds", "latency_ms", "power_watts"]); // each has a column

const TERMS = {
  queue_wait: t("queue wait"),
  network: t("network"),
  cached_tokens: t("cached tokens"),
  prefill: t("prefill"),
  decode: t("decode"),
  wake: t("wake"),
  load: t("load"),
  idle_tail: t("idle tail"),
  spared: t("spared"),
  keep_alive: t("keep alive"),
  heat: t("heat"),
  money: t("money"),
  noise: t("noise"),
  other_machine: t("other machine"),
  delay: t("delay"),
  late: t("late"),
  price_of_time: t("price of time"),
};

export function term(name) {
  const parts = name.split("_");
  const unit = UNITS[parts.at(-1)];
  const bare = unit ? parts.slice(0, -1) : parts;
  return `${TERMS[bare.join("_")] ?? bare.join(" ")}${unit ? ` (${unit})` : ""}`;
}

function row(each, names, isFirst) {
  const notes = phrases([...each.beyond, ...each.notes]);
  const head = make("th", { scope: "row" }, each.backend_id, ...(isFirst ? [" ", make("span", { class: "chip", "data-look": "good" }, t("chosen"))] : []));
  const cells = [each.cost_joules, each.energy_joules, each.terms.time_seconds, each.latency_ms / 1000, each.power_watts, ...names.map((name) => each.terms[name])];
  return make("tr", {}, head, ...cells.map((value) => make("td", {}, typeof value === "number" ? amount(value) : "–")), make("td", { class: "notes", lang: notes.lang }, notes.text));
}

/** A decision as elements. */
export function table(decision) {
  const names = [...new Set(decision.ranked.flatMap((each) => Object.keys(each.terms)))].filter((name) => !OWN.has(name) && decision.ranked.some((each) => each.terms[name]));
  const heads = [t("Backend"), t("Cost (J)"), t("Energy (J)"), t("Time (s)"), t("First token (s)"), t("Power (W)"), ...names.map(term), t("Notes")];
  const { text, lang } = phrase(decision);
  const told = [make("p", { class: "reason", lang }, text)];
  if (decision.ranked.length) {
    const rows = decision.ranked.map((each, at) => row(each, names, at === 0));
    const whole = make("table", { class: "decision" }, make("thead", {}, make("tr", {}, ...heads.map((each) => make("th", { scope: "col" }, each)))), make("tbody", {}, ...rows));
    told.push(make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": t("Candidates") }, whole));
  }
  if (decision.rejected.length) {
    const why = ({ rejections }) => make("span", { lang: phrases(rejections).lang }, phrases(rejections).text);
    const lines = decision.rejected.map((each) => make("li", {}, make("strong", {}, each.backend_id), " ", why(each)));
    told.push(make("p", { class: "small quiet" }, t("Cannot serve this:")), make("ul", { class: "rejected small" }, ...lines));
  }
  return told;
}
