// The page in the person's language: a sentence is its own key, and a table for each other language has it by that key.

import { browser } from "./memory.js";

const LANGUAGES = ["en", "de", "fr"];
const CHOICE = "ollama-proxyd-language";

export function chosen() {
  return browser.get(CHOICE) ?? "";
}

export function choose(language) {
  if (language) browser.set(CHOICE, language);
  else browser.remove(CHOICE);
}

function first() {
  const wished = [chosen(), ...(navigator.languages ?? [])].map((each) => each.slice(0, 2).toLowerCase());
  return wished.find((each) => LANGUAGES.includes(each)) ?? "en";
}

export const language = first();
/** The person's own variant of it: dates and numbers differ between those of one language. */
export const locale = navigator.languages?.find((each) => each.slice(0, 2).toLowerCase() === language) ?? language;
const table = language === "en" ? {} : (await import(`./${language}.js`)).default;

/** A sentence in the person's language, with `{name}` replaced by values. */
export function t(sentence, values = {}) {
  return (table[sentence] ?? sentence).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const numbers = new Map();

/** A number with three digits that count, as the language writes it. */
export function amount(value) {
  const digits = Math.abs(value) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  const key = JSON.stringify(digits);
  if (!numbers.has(key)) numbers.set(key, new Intl.NumberFormat(locale, digits));
  return numbers.get(key).format(value);
}

/** Puts the sentences that the markup has into the person's language. */
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const each of root.querySelectorAll("[data-t]")) each.textContent = t(each.textContent.trim());
  for (const name of ["aria-label", "placeholder", "title"])
    for (const each of root.querySelectorAll(`[data-t-label][${name}]`)) each.setAttribute(name, t(each.getAttribute(name)));
}
