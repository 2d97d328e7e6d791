// One answer under way: what comes is put into its message, timed, and shown where its view is on the page.

import { chat } from "./asking.js";
import { reasonOf } from "./frame.js";
import { t } from "./i18n.js";
import { NeedsToken } from "./stream.js";

const MOST_ANSWER = 4 * 1024 * 1024;
const KEEP_EVERY_MS = 1000;
const FIGURES_EVERY_MS = 200;

const AT_ONCE = 4; // a browser opens six connections to one server: one follows the status, one renders and asks

/** A turn among the answers of all pages of this browser. */
async function inTurn(signal, waits, what) {
  if (!navigator.locks) return what();
  const seat = (at) => `ollama-proxyd seat ${at}`;
  for (let at = 0; at < AT_ONCE; at += 1) {
    const isDone = await navigator.locks.request(seat(at), { ifAvailable: true }, async (lock) => lock && (await what(), true));
    if (isDone) return undefined;
  }
  waits();
  return navigator.locks.request(seat(Math.floor(Math.random() * AT_ONCE)), { signal }, what);
}

export class Answering {
  /** `acts`: keep(conversation), ended(answering), refused(). `view` is where the answer is on the page. */
  constructor(conversation, message, acts) {
    this.conversation = conversation;
    this.message = message;
    this.acts = acts;
    this.view = null;
    this.abort = new AbortController();
    this.meta = {};
    this.pieces = 0;
    this.keptAt = -KEEP_EVERY_MS;
    this.figuresAt = -FIGURES_EVERY_MS;
  }

  async run() {
    try {
      await inTurn(this.abort.signal, () => this.wait(true), () => this.ask());
      if (!this.meta.isWhole) this.meta.trouble = t("The answer broke off.");
    } catch (error) {
      if (error instanceof NeedsToken) this.acts.refused();
      this.meta.trouble = this.abort.signal.aborted ? t("Stopped.") : t("That did not work: {reason}", { reason: error instanceof NeedsToken ? t("Token needed") : reasonOf(error) });
    }
    this.finish();
  }

  async ask() {
    const asked = { ...this.conversation, messages: this.conversation.messages.slice(0, -1) };
    this.wait(false);
    this.begun = performance.now();
    await chat(asked, this.abort.signal, { began: (headers) => this.began(headers), frame: (frame) => this.take(frame) });
  }

  wait(isWaiting) {
    this.isWaiting = isWaiting;
    this.view?.showFigures(isWaiting ? [t("waits for its turn")] : []);
  }

  /** Shows it from now on; null where another conversation is on the page. */
  showOn(view) {
    this.view = view;
    if (this.isWaiting) this.wait(true);
  }

  began(headers) {
    const joules = Number.parseFloat(headers.get("X-Estimated-Energy-J"));
    Object.assign(this.meta, {
      request_id: headers.get("X-Request-ID"),
      backend: headers.get("X-Backend-Used"),
      reason: headers.get("X-Routing-Reason"),
      ignored: headers.get("X-Ignored-Fields") ?? undefined,
      ...(Number.isNaN(joules) ? {} : { estimated_joules: joules }),
    });
  }

  take(frame) {
    const { content = "", thinking = "", tool_calls: calls = [] } = frame.message ?? {};
    const now = performance.now();
    if (content || thinking || calls.length) {
      this.pieces += 1;
      this.meta.ttft_ms ??= now - this.begun;
      this.firstAt ??= now;
    }
    if (thinking) this.message.thinking = (this.message.thinking ?? "") + thinking;
    if (content && this.message.thinking) this.meta.thought_ms ??= now - this.firstAt;
    this.message.content += content;
    if (this.message.content.length + (this.message.thinking ?? "").length > MOST_ANSWER) throw new Error(t("the answer is too long for this page"));
    if (calls.length) this.message.calls = [...(this.message.calls ?? []), ...calls.map((each) => ({ name: each.function.name, arguments: each.function.arguments }))];
    if (frame.done) this.count(frame);
    this.show(content, thinking, calls);
    if (now - this.keptAt > KEEP_EVERY_MS) this.keep(now);
  }

  count(frame) {
    this.meta.isWhole = true;
    this.meta.tokens = frame.eval_count ?? this.pieces;
    this.meta.prompt_tokens = frame.prompt_eval_count;
    if (frame.eval_count && frame.eval_duration) this.meta.tokens_per_second = frame.eval_count / (frame.eval_duration / 1e9);
    if (frame.done_reason === "length") this.meta.trouble = t("Cut at the most tokens that were asked for.");
  }

  show(content, thinking, calls) {
    if (!this.view) return;
    if (thinking) this.view.think(thinking);
    if (content) this.view.say(content);
    if (calls.length) this.view.showCalls();
    const now = performance.now();
    if (now - this.figuresAt < FIGURES_EVERY_MS) return;
    this.figuresAt = now;
    this.view.showFigures([this.meta.backend, this.speed() && t("{speed} tokens/s", { speed: this.speed() }), t("{count} tokens", { count: this.pieces })]);
  }

  /** Tokens a second so far; a piece is about a token. */
  speed() {
    const seconds = (performance.now() - this.firstAt) / 1000;
    return this.pieces > 2 && seconds > 0.2 ? Math.round(this.pieces / seconds) : 0;
  }

  keep(now) {
    this.keptAt = now;
    this.acts.keep(this.conversation);
  }

  finish() {
    this.message.meta = this.meta;
    this.meta.tokens ??= this.pieces;
    if (!this.meta.tokens_per_second && this.speed()) this.meta.tokens_per_second = this.speed();
    this.view?.end();
    this.acts.ended(this);
  }
}
