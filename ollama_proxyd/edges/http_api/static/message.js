// One message on the page: a person's words as they are, an answer as it grows, and what it cost.

import { explain, outcome } from "./asking.js";
import { amount, t } from "./i18n.js";
import { copyText, icon, make, mark, say } from "./page.js";
import { address } from "./pictures.js";
import { phrase } from "./reasons.js";
import { Rendered, plain } from "./rendered.js";
import { table } from "./why.js";

function button(name, label, action) {
  const made = make("button", { type: "button", class: "plain-button", "aria-label": t(label), title: t(label) }, icon(name));
  made.addEventListener("click", () => action(made));
  return made;
}

/** A person's message, or what they told a tool. */
export function asked(message, { edit }) {
  const head = make("h2", { class: "unseen" }, message.role === "tool" ? t("Result of {tool}", { tool: message.tool }) : t("You"));
  const body = make("div", { class: "bubble" });
  if (message.images?.length) body.append(make("div", { class: "shown-pictures" }, ...message.images.map(picture)));
  if (message.content) body.append(plain(message.content));
  const foot = make("div", { class: "message-foot" }, button("copy", "Copy", () => copyText(message.content, foot.firstElementChild)));
  if (message.role === "user") foot.append(button("edit", "Edit", () => edit(message)));
  return make("article", { class: `message ${message.role}` }, head, body, foot);
}

function picture(base64, at) {
  const image = make("img", { src: address(base64), alt: t("Picture {number}", { number: at + 1 }) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  return image;
}

export class AnswerView {
  /** `acts`: retry, results(list), settle(). */
  constructor(message, model, acts) {
    this.message = message;
    this.acts = acts;
    this.model = model;
    this.thoughts = make("details", { class: "thinking", hidden: "" }, make("summary", {}, t("Thinking")), make("div", { class: "thoughts" }));
    this.body = make("div", { class: "answer" });
    this.calls = make("div", { class: "calls" });
    this.trouble = make("p", { class: "trouble", hidden: "" });
    this.figures = make("p", { class: "figures-line small quiet" });
    this.why = make("details", { class: "why-here small", hidden: "" }, make("summary", {}, t("Why here?")), make("div", { class: "why-body" }));
    this.why.addEventListener("toggle", () => this.why.open && this.explain());
    this.foot = make("div", { class: "message-foot" });
    this.element = make("article", { class: "message assistant" }, make("h2", { class: "who small" }, make("bdi", {}, message.model ?? model)),
      this.thoughts, this.body, this.calls, this.trouble, this.figures, this.why, this.foot);
    this.rendered = null;
    this.thoughtText = new Text();
    if (message.thinking) this.think(message.thinking);
    if (message.content) this.say(message.content);
    if (message.calls?.length) this.showCalls();
    if (message.meta) this.end();
    else mark(this.element, "aria-busy", "true");
  }

  say(piece) {
    this.rendered ??= new Rendered(this.body, () => this.acts.settle());
    this.rendered.append(piece);
  }

  think(piece) {
    if (this.thoughts.hidden) {
      this.thoughts.hidden = false;
      this.thoughts.lastElementChild.append(this.thoughtText);
    }
    if (this.thoughtText.length + piece.length > 4000) {
      const box = make("span", { class: "piece" });
      this.thoughtText = new Text();
      box.append(this.thoughtText);
      this.thoughts.lastElementChild.append(box);
    }
    if (piece.length > 4000) this.thoughts.lastElementChild.append(plain(piece));
    else this.thoughtText.appendData(piece);
  }

  /** What is known while it runs. */
  showFigures(parts) {
    say(this.figures, parts.filter(Boolean).join(" · "));
  }

  end() {
    const { meta } = this.message;
    this.rendered?.end();
    mark(this.element, "aria-busy", "false");
    say(this.thoughts.firstElementChild, meta.thought_ms ? t("Thought for {seconds} s", { seconds: amount(meta.thought_ms / 1000) }) : t("Thinking"));
    this.trouble.hidden = !meta.trouble;
    say(this.trouble, meta.trouble ?? "");
    this.showFigures(figures(meta));
    this.why.hidden = !meta.reason;
    this.foot.replaceChildren(
      button("copy", "Copy", () => copyText(this.message.content, this.foot.firstElementChild)),
      button("retry", "Answer again", () => this.acts.retry(this.message)));
  }

  async explain() {
    const { meta } = this.message;
    const body = this.why.lastElementChild;
    const { text, lang } = phrase(meta);
    const told = [make("p", { class: "reason", lang }, text)];
    if (meta.ignored) told.push(make("p", { class: "quiet" }, t("Not used by this backend: {fields}", { fields: meta.ignored })));
    body.replaceChildren(...told);
    try {
      const now = await explain({ model: this.message.model ?? this.model, prompt_tokens: meta.prompt_tokens ?? 0, max_tokens: Math.max(1, meta.tokens ?? 1) });
      body.append(make("h3", {}, t("The same request now")), ...table(now));
    } catch {
      // the reason above is what was told with the answer
    }
  }

  showCalls() {
    const cards = this.message.calls.map((call, at) => make("div", { class: "call" },
      make("p", {}, make("strong", {}, t("Calls {name}", { name: call.name }))),
      make("pre", { tabindex: "0", dir: "ltr" }, JSON.stringify(call.arguments, null, 2)),
      make("label", { for: `result-${this.message.at}-${at}`, class: "small quiet" }, t("What it gave")),
      make("textarea", { rows: "1", id: `result-${this.message.at}-${at}` })));
    const give = make("button", { type: "button", class: "primary" }, t("Give the results"));
    give.addEventListener("click", () => this.acts.results(this.message.calls.map((call, at) => ({ role: "tool", tool: call.name, content: cards[at].querySelector("textarea").value }))));
    this.calls.replaceChildren(...cards, ...(this.acts.isLast(this.message) ? [give] : []));
  }

  /** The joules, as soon as the books have them. */
  async book() {
    const { meta } = this.message;
    try {
      const booked = await outcome(meta.request_id);
      if (booked && booked.energy_joules !== null) meta.joules = booked.energy_joules;
      if (booked) meta.prompt_tokens ??= booked.prompt_tokens;
      if (booked?.reason_code) Object.assign(meta, { reason: booked.reason, reason_code: booked.reason_code, reason_details: booked.reason_details });
    } catch {
      // the estimate stays
    }
    this.showFigures(figures(meta));
  }
}

function figures(meta) {
  const joules = meta.joules ?? meta.estimated_joules;
  return [
    meta.backend,
    joules === undefined ? "" : `${meta.joules === undefined ? "≈ " : ""}${amount(joules)} J`,
    meta.tokens_per_second ? t("{speed} tokens/s", { speed: amount(meta.tokens_per_second) }) : "",
    meta.ttft_ms === undefined ? "" : t("first after {time} s", { time: amount(meta.ttft_ms / 1000) }),
    meta.tokens ? t("{count} tokens", { count: meta.tokens }) : "",
  ];
}
