// The energy books: who used how much, by what and over how many days the person chooses.

import { by, fill, make } from "./page.js";
import { read } from "./stream.js";
import { books } from "./words.js";

const PAUSE_MS = 10000; // the books are read from a file, which need not be done for each answer

export class EnergyTable {
  constructor(failed) {
    this.failed = failed;
    this.seen = null;
    this.readAt = 0;
    for (const id of ["books-by", "books-days"]) by(id).addEventListener("change", () => this.load());
  }

  /** Reads the books again where something was done since, at most every few seconds. */
  refresh(today) {
    const seen = JSON.stringify([today.requests, today.energy_joules]);
    if (seen === this.seen || Date.now() - this.readAt < PAUSE_MS) return;
    this.seen = seen;
    this.load();
  }

  async load() {
    this.readAt = Date.now();
    const question = `/energy?days=${by("books-days").value}&by=${by("books-by").value}`;
    try {
      const told = await read(question);
      if (question.endsWith(`=${by("books-by").value}`)) this.show(books(told));
    } catch (error) {
      this.seen = null;
      this.failed(error);
    }
  }

  show({ heads, rows, notes }) {
    const line = (tag, cells) => make("tr", {}, ...cells.map((cell, at) => (at ? make(tag, {}, cell) : make("th", { scope: tag === "th" ? "col" : "row" }, cell))));
    fill(by("books"), [heads, rows], () => [make("thead", {}, line("th", heads)), make("tbody", {}, ...rows.map((row) => line("td", row)))]);
    fill(by("books-notes"), notes, () => notes.map((note) => make("p", {}, note)));
  }
}
