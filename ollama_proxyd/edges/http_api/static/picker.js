// The choice of a model: each with the backend where the next message would be answered, its joules and seconds.

import { explain, models, promptTokens } from "./asking.js";
import { amount, language, t } from "./i18n.js";
import { by, make, say } from "./page.js";
import { phrase } from "./reasons.js";

const AT_ONCE = 4;
const MOST = 60; // models whose place is asked for

export function told(decision) {
  const best = decision.ranked[0];
  if (!best) return { ...phrase(decision), isUnable: true };
  return { text: `${best.backend_id} · ${amount(best.energy_joules)} J · ${amount(best.terms.time_seconds)} s`, lang: language, isUnable: false };
}

export class Picker {
  /** `question()` is the conversation with the words that are to be sent; `chosen(name)` takes the choice. */
  constructor(question, chosen) {
    this.question = question;
    this.chosen = chosen;
    this.models = [];
    by("model").addEventListener("click", () => this.open());
    by("models-list").addEventListener("keydown", (event) => this.move(event));
  }

  async load() {
    this.models = (await models()).filter((each) => !isEmbedding(each));
    return this.models;
  }

  async open() {
    by("models-dialog").showModal();
    await this.load();
    this.show();
    await this.price();
  }

  show() {
    const { conversation } = this.question();
    by("models-none").hidden = this.models.length > 0;
    by("models-list").replaceChildren(...this.models.map((model) => this.row(model, model.name === conversation.model)));
    by("models-list").querySelector('[aria-pressed="true"], button')?.focus();
  }

  row({ name, size, details }, isChosen) {
    const facts = [details?.parameter_size, details?.quantization_level, size ? `${amount(size / 1e9)} GB` : ""].filter(Boolean).join(" · ");
    const choice = make("button", { type: "button", class: "choice", "aria-pressed": String(isChosen), "data-model": name },
      make("span", { class: "choice-name" }, make("bdi", {}, name)), make("span", { class: "quiet small" }, facts), make("span", { class: "where small" }, "…"));
    choice.addEventListener("click", () => {
      by("models-dialog").close();
      this.chosen(name);
    });
    return make("li", {}, choice);
  }

  async price() {
    const waiting = this.models.slice(0, MOST);
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (let model = waiting.shift(); model; model = waiting.shift()) await this.priceOne(model.name);
    });
    await Promise.all(workers);
  }

  async priceOne(name) {
    const place = [...by("models-list").querySelectorAll(".choice")].find((each) => each.dataset.model === name)?.querySelector(".where");
    if (!place) return;
    const { text, lang, isUnable } = await this.ask(name);
    say(place, text);
    place.classList.toggle("unable", isUnable);
    place.lang = lang;
  }

  /** Where this model would answer; the reason where none can. */
  async ask(name) {
    const { conversation, words, hasPictures } = this.question();
    const most = conversation.options.num_predict;
    try {
      return told(await explain({ model: name, prompt_tokens: promptTokens(conversation, words), ...(most ? { max_tokens: most } : {}), ...(hasPictures ? { needs_vision: true } : {}) }));
    } catch (error) {
      return { text: error.message || t("not known"), lang: "en", isUnable: true };
    }
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const choices = [...by("models-list").querySelectorAll(".choice")];
    choices[(choices.indexOf(document.activeElement) + step + choices.length) % choices.length]?.focus();
  }
}

function isEmbedding(model) {
  return model.capabilities?.length > 0 && !model.capabilities.includes("completion");
}
