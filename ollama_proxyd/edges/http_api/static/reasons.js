// The daemon's reasons in the person's language, by codes and values (docs/reasons.md); in English they are its own sentences.

import { language, locale, t } from "./i18n.js";
import { make, mark, say } from "./page.js";

const table = language === "en" ? { default: {}, words: {}, quotes: ["'", "'"] } : await import(`./reasons.${language}.js`);
const DEEPEST = 5;

/** A reason as a text, and the language of it: the daemon's English where this one has no words for it. */
export function phrase(told, depth = DEEPEST) {
  const { reason, reason_code: code, reason_details: values } = told ?? {};
  const isKnown = depth > 0 && Object.hasOwn(table.default, code ?? "");
  const text = isKnown ? render(table.default[code], values, depth) : null;
  return text === null ? { text: reason ?? "", lang: "en" } : { text, lang: language };
}

/** Several as one. */
export function phrases(list) {
  const all = list.map((each) => phrase(each)).filter(({ text }) => text);
  return { text: all.map(({ text }) => text).join("; "), lang: all.every(({ lang }) => lang === language) ? language : "en" };
}

export function inSpan(told) {
  const { text, lang } = phrase(told);
  return make("span", { lang }, text);
}

/** Says a reason in an element, as a sentence of its own. */
export function tell(element, told) {
  const { text, lang } = phrase(told);
  say(element, text.charAt(0).toUpperCase() + text.slice(1));
  mark(element, "lang", lang);
}

/** A template with its values: what stands in brackets only where they are there; null where another is missing. */
export function render(template, values, depth = DEEPEST) {
  const parts = template.split(/\[([^\]]*)\]/);
  const isTold = (part, isOptional) => [...part.matchAll(/\{(\w+)/g)].every(([, name]) => (values[name] ?? null) !== null && !(isOptional && values[name] === false));
  if (!parts.every((part, at) => at % 2 || isTold(part, false))) return null;
  const fill = (part) => part.replace(/\{(\w+):?([^}]*)\}/g, (_, name, form) => shown(name, values[name], form, depth));
  return parts.map((part, at) => (at % 2 && !isTold(part, true) ? "" : fill(part))).join("");
}

function shown(name, value, form, depth) {
  if (form === "?") return "";
  if (typeof value === "number") return figure(value, form);
  if (Array.isArray(value)) return value.map((each) => shown(name, each, "", depth)).join("; ");
  if (typeof value === "object") return phrase(value, depth - 1).text;
  const said = Object.hasOwn(SPOKEN, name) ? SPOKEN[name](value) : String(value);
  return form === "quoted" ? table.quotes.join(said) : said;
}

/** What the daemon calls a mode: by its token, or by a label such as "Auto (Balanced, in the background)". */
const mode = (text) => text.replace(/(?<=[a-z])(?=[A-Z])/g, " ").split(/( \(|, |\)$)/).map((each) => word(t(each))).join("");

const word = (text) => (Object.hasOwn(table.words, text) ? table.words[text] : text);

const SPOKEN = { mode, next_mode: mode, mode_label: mode, detail: word, advice: word, source: word, task: word }; // the other values are names

/** A number in one of Python's forms, or with two digits that count: `g`, `.3g`, `.0f`, `,.0f`, `figure`. */
function figure(value, form) {
  const [, group, digits, kind] = /^(,?)(?:\.(\d))?([gf]?)/.exec(form === "figure" ? (value >= 99.5 ? ".0f" : ".2g") : form);
  const most = kind === "f" ? { minimumFractionDigits: Number(digits), maximumFractionDigits: Number(digits) } : { maximumSignificantDigits: Number(digits ?? 6) };
  return new Intl.NumberFormat(locale, { useGrouping: group !== "", ...most }).format(value);
}
