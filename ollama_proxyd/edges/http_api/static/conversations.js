// The list of conversations: search, rename, export, delete.

import { t } from "./i18n.js";
import { by, icon, make, say } from "./page.js";
import * as store from "./store.js";

function small(name, label, action) {
  const made = make("button", { type: "button", class: "plain-button", "aria-label": label, title: label }, icon(name));
  made.addEventListener("click", action);
  return made;
}

function saveFile(name, value) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" }));
  const link = make("a", { href: address, download: name });
  link.click();
  URL.revokeObjectURL(address);
}

export class Conversations {
  /** `open(id)`, `removed(id)` where null means all, `renamed(id, title)`. */
  constructor({ open, removed, renamed }) {
    this.acts = { open, removed, renamed };
    this.current = null;
    this.heads = [];
    this.found = null;
    by("search").addEventListener("input", () => this.search());
    by("export-all").addEventListener("click", async () => saveFile("conversations.json", await store.all()));
    by("delete-all").addEventListener("click", () => this.removeAll());
  }

  async load() {
    try {
      this.heads = await store.heads();
    } catch {
      this.heads = []; // a browser that keeps nothing says so when a conversation is to be kept
    }
    this.show();
  }

  async search() {
    const words = by("search").value.trim();
    const found = words ? await store.having(words) : null;
    if (words !== by("search").value.trim()) return; // more was typed meanwhile
    this.found = found;
    this.show();
  }

  show() {
    const shown = this.heads.filter((each) => !this.found || this.found.has(each.id));
    by("list").replaceChildren(...shown.map((head) => this.item(head)));
    by("list-none").hidden = this.heads.length > 0;
    say(by("kept"), t("{count} of at most {most} kept", { count: this.heads.length, most: store.MOST }));
  }

  item(head) {
    const isCurrent = head.id === this.current;
    const open = make("button", { type: "button", class: "open", ...(isCurrent ? { "aria-current": "true" } : {}) }, make("bdi", {}, head.title));
    open.addEventListener("click", () => this.acts.open(head.id));
    const item = make("li", { class: isCurrent ? "current" : "" }, open,
      small("edit", t("Rename {title}", head), () => this.rename(item, head)),
      small("export", t("Export {title}", head), async () => saveFile("conversation.json", await store.body(head.id))),
      small("trash", t("Delete {title}", head), () => this.remove(head.id)));
    return item;
  }

  rename(item, head) {
    const field = make("input", { type: "text", maxlength: "120", "aria-label": t("New name") });
    field.value = head.title;
    const end = async (isKept) => {
      field.onblur = null;
      const title = field.value.trim();
      if (isKept && title && title !== head.title) await this.acts.renamed(head.id, title);
      await this.load();
    };
    field.onblur = () => end(true);
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.stopPropagation(); // no answer is to be stopped by it
      end(event.key === "Enter");
    });
    item.replaceChildren(field);
    field.select();
  }

  async remove(id) {
    await store.remove(id);
    this.acts.removed(id);
    await this.load();
  }

  async removeAll() {
    if (!confirm(t("Delete all conversations of this browser?"))) return;
    await store.removeAll();
    this.acts.removed(null);
    await this.load();
  }
}
