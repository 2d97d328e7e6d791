// The last requests as a table, told anew when there are more.

import { follow, refresh } from "./frame.js";
import { amount, locale, t } from "./i18n.js";
import { by, fill, make } from "./page.js";
import { phrase } from "./reasons.js";
import { read } from "./stream.js";
import { ended } from "./words.js";

const MOST = 100;
const PAUSE_MS = 2000;
let isDue = false;

function known(value, unit = "") {
  return value === null || value === undefined ? "–" : `${amount(value)}${unit}`;
}

function row(each) {
  const when = new Date(each.unix_seconds * 1000).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const look = each.ended === "ok" ? "good" : "warm";
  const cells = [each.model ?? "–", each.backend ?? "–", each.application ?? "–"].map((text) => make("td", { class: "text" }, make("bdi", {}, text)));
  const figures = [known(each.prompt_tokens), known(each.completion_tokens), known(each.ttft_seconds, " s"), known(each.total_seconds, " s"), known(each.energy_joules, " J")];
  const said = ended(each.ended);
  const language = said === each.ended.replaceAll("_", " ") ? { lang: "en" } : {};
  const end = make("td", { class: "text" }, make("span", { class: "chip", "data-look": look, ...language }, said));
  const why = phrase(each);
  return make("tr", {}, make("th", { scope: "row" }, when), ...cells, ...figures.map((text) => make("td", {}, text)), end, make("td", { class: "text notes", lang: why.lang }, why.text));
}

async function load() {
  const told = await read(`/requests?limit=${MOST}`);
  const heads = [t("Time"), t("Model"), t("Backend"), t("Program"), t("Prompt"), t("Answer"), t("First token"), t("In all"), t("Energy"), t("Ended"), t("Reason")];
  by("none").hidden = told.length > 0;
  by("requests").hidden = told.length === 0;
  fill(by("requests"), told, () => [make("thead", {}, make("tr", {}, ...heads.map((each) => make("th", { scope: "col" }, each)))), make("tbody", {}, ...told.map(row))]);
}

let seen = null;
follow((status) => {
  const now = `${status.today.requests} ${status.last_decision?.unix_seconds} ${status.last_decision?.ended}`;
  if (now === seen || isDue) return;
  isDue = true;
  setTimeout(() => { isDue = false; refresh(load); }, seen === null ? 0 : PAUSE_MS);
  seen = now;
});
