// An answer as it grows: settled blocks stay, the last is rendered anew by the proxy, and what is newer stands as text.

import { t } from "./i18n.js";
import { copyText, make } from "./page.js";
import { ask } from "./stream.js";

const MOST = 16000; // characters that are rendered at once; the proxy takes a few more
const AT_ONCE = 8; // blocks that are laid out before the page may do something else
const MOST_BYTES = 60000;
const MOST_RENDERED = 400000;
const PIECE = 4000; // long text is laid out piece by piece, and what is out of sight not at all
const PAUSE_MS = 60;
const BLOCKS = new Set(["P", "H3", "H4", "H5", "H6", "UL", "OL", "LI", "BLOCKQUOTE", "PRE", "CODE", "TABLE", "TBODY", "TR", "TD"]);

const policy = globalThis.trustedTypes?.createPolicy("rendered", { createHTML: (html) => html }) ?? { createHTML: (html) => html };
let line = Promise.resolve(); // one text at a time

/** What the proxy makes of a text: its blocks, or null where it is to be shown as it is. */
async function rendering(text) {
  const body = JSON.stringify({ text });
  if (new TextEncoder().encode(body).length > MOST_BYTES) return null;
  const turn = line.then(() => ask("/ui/render", { method: "POST", headers: { "Content-Type": "application/json" }, body }));
  line = turn.then(() => {}, () => {});
  try {
    return (await (await turn).json()).blocks;
  } catch {
    return null;
  }
}

/** Plain text, however long it or a line of it is. */
export function plain(text) {
  const box = make("div", { class: "plain", dir: "auto" });
  for (let at = 0; at < text.length; ) {
    const piece = text.slice(at, at + PIECE);
    const end = piece.length < PIECE ? 0 : Math.max(piece.lastIndexOf("\n"), piece.lastIndexOf(" ")) + 1;
    box.append(make("div", { class: "piece", dir: "auto" }, end ? piece.slice(0, end) : piece));
    at += end || piece.length;
  }
  return box;
}

function paused(ms) {
  return new Promise((go) => setTimeout(go, ms));
}

export class Rendered {
  /** `settle` is called each time that something was drawn. */
  constructor(root, settle = () => {}) {
    this.root = root;
    this.settle = settle;
    this.text = "";
    this.done = 0; // up to here the blocks stay
    this.drawn = 0; // up to here there is HTML
    this.open = make("div", { class: "block", dir: "auto" });
    this.tail = new Text();
    this.open.append(this.tail);
    this.isBusy = false;
    this.isWhole = false;
    this.html = null; // what the open block shows
    this.fence = ""; // the line that began the code which is cut here
    root.replaceChildren(this.open);
  }

  append(piece) {
    this.text += piece.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
    if (!this.isTailDue) queueMicrotask(() => this.showTail()); // once for all pieces that came together
    this.isTailDue = true;
    this.pump();
  }

  /** The answer has ended. */
  async end() {
    this.isWhole = true;
    await this.pump();
    if (this.fence && this.html) {
      this.place(this.html);
      this.open.replaceChildren();
    } else decorate(this.open);
  }

  showTail() {
    this.isTailDue = false;
    const rest = this.text.length - this.drawn;
    this.tail.data = rest > PIECE ? this.text.slice(-PIECE) : this.text.slice(this.drawn);
  }

  pump() {
    if (!this.isBusy) this.pumping = this.render();
    return this.pumping;
  }

  async render() {
    this.isBusy = true;
    while (this.drawn < this.text.length) {
      const begun = performance.now();
      await this.step();
      this.settle();
      await paused(this.isWhole && this.drawn < this.text.length ? 0 : Math.max(PAUSE_MS, 2 * (performance.now() - begun)));
    }
    this.isBusy = false;
  }

  async step() {
    const part = this.part();
    const isCut = this.done + part.length < this.text.length && part.length >= MOST / 2;
    const isPlain = this.done > MOST_RENDERED || (isCut && !part.includes("\n"));
    const blocks = isPlain ? null : await rendering(this.fence + part);
    const fence = isCut && blocks?.length === 1 ? fenceOf(this.fence + part, blocks[0].html) : "";
    if (fence) this.keepCode(blocks[0].html, part, fence);
    else if (blocks === null || (isCut && blocks.length < 2)) this.keepPlain(part, isCut);
    else await this.put(blocks, part);
    this.showTail();
  }

  /** What is rendered next: all that is not settled, or as much of it as is taken at once, in whole lines. */
  part() {
    const rest = this.text.slice(this.done, this.done + MOST);
    const end = rest.length < MOST ? -1 : rest.lastIndexOf("\n");
    return end > 0 ? rest.slice(0, end + 1) : rest;
  }

  /** Code that is longer than what is rendered at once: what follows is code too. */
  keepCode(html, part, fence) {
    this.place(html);
    this.fence = fence;
    this.keepNothingOpen(part);
  }

  keepNothingOpen(part) {
    this.done += part.length;
    this.drawn = this.done;
    this.html = null;
    this.open.replaceChildren(this.tail);
  }

  /** A block that stays; code that was cut goes on where it was. */
  place(html) {
    const made = decorate(block(html));
    const code = this.fence && this.open.previousElementSibling?.querySelector("pre > code");
    if (code) code.append(...made.querySelector("pre > code").childNodes);
    else this.open.before(made);
    this.fence = "";
  }

  keepPlain(part, isSettled) {
    if (isSettled) {
      this.open.before(plain(part));
      this.fence = "";
      return this.keepNothingOpen(part);
    }
    this.open.replaceChildren(plain(part), this.tail);
    this.html = null;
    this.drawn = this.done + part.length;
    return undefined;
  }

  async put(blocks, part) {
    const ends = lineEnds(this.fence + part);
    const start = this.done - this.fence.length;
    this.drawn = this.done + part.length;
    const last = blocks.pop();
    for (const [at, { html }] of blocks.entries()) {
      if (at % AT_ONCE === AT_ONCE - 1) await paused(0);
      this.place(html);
    }
    if (blocks.length) this.done = start + ends[Math.min(blocks.at(-1).end, ends.length) - 1];
    const html = last?.html ?? "";
    if (this.html !== html) this.open.innerHTML = policy.createHTML(html);
    this.html = html;
    deepest(this.open).append(this.tail);
  }
}

/** The line that begins a block of code, or nothing where it is another block. */
function fenceOf(text, html) {
  const found = html.startsWith("<pre") ? /^\s*( {0,3}(?:`{3,}|~{3,})[^\n]{0,100}\n)/.exec(text) : null;
  return found?.[1] ?? "";
}

function lineEnds(text) {
  const ends = [];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) ends.push(at + 1);
  return [...ends, text.length];
}

function block(html) {
  const made = make("div", { class: "block", dir: "auto" });
  made.innerHTML = policy.createHTML(html);
  return made;
}

/** Where the newest words belong: in the last paragraph, item or cell. */
function deepest(element) {
  let at = element;
  while (at.lastElementChild && BLOCKS.has(at.lastElementChild.tagName)) at = at.lastElementChild;
  return at;
}

/** What a finished block needs to be used: tables and code scroll by keyboard too, code can be copied, links show where they lead. */
function decorate(element) {
  for (const table of element.querySelectorAll("table")) {
    const wide = make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": t("Table") });
    table.replaceWith(wide);
    wide.append(table);
  }
  for (const pre of element.querySelectorAll("pre")) {
    const copy = make("button", { type: "button", class: "copy-code" }, t("Copy"));
    copy.addEventListener("click", () => copyText(pre.textContent, copy));
    const box = make("div", { class: "code" });
    pre.setAttribute("tabindex", "0");
    pre.setAttribute("dir", "ltr");
    pre.replaceWith(box);
    box.append(pre, copy);
  }
  for (const link of element.querySelectorAll("a[href]")) link.title = link.href;
  return element;
}
