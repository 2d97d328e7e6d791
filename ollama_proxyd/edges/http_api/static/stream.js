// Follows /status/events with fetch, since EventSource cannot show a token, and asks for what the page changes.

import { tab } from "./memory.js";

const NAME = "ollama-proxyd status";
const TOKEN = "ollama-proxyd-token";
const SILENT_MS = 45000; // the server shows every 20 s that it lives
const WAITS_MS = [500, 1000, 2000, 4000, 8000];

export class NeedsToken extends Error {}

export function keepToken(token) {
  tab.set(TOKEN, token);
}

export function hasToken() {
  return tab.get(TOKEN) !== null;
}

export function forgetToken() {
  tab.remove(TOKEN);
}

/** Asks the proxy; NeedsToken where it wants one, else an Error with its reason. */
export async function ask(path, options = {}) {
  const token = tab.get(TOKEN);
  const headers = { ...(token === null ? {} : { Authorization: `Bearer ${token}` }), ...options.headers };
  const reply = await fetch(path, { ...options, headers, cache: "no-store" });
  if (reply.status === 401) throw new NeedsToken();
  if (!reply.ok) throw new Error(await said(reply));
  return reply;
}

async function said(reply) {
  try {
    const told = await reply.json();
    return told.error ?? told.Message; // the admin API's key
  } catch {
    return `the proxy answered ${reply.status}`;
  }
}

export async function read(path) {
  return (await ask(path)).json();
}

export async function change(path, body) {
  await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Tells each status to `told`, and to `lost` when there is none; goes on for ever, but not while nobody looks.

One page of a browser follows and tells the others: a browser opens six connections to a server, for all its pages.
*/
export class Stream {
  constructor({ told, lost, refused }) {
    this.told = told;
    this.lost = lost;
    this.refused = refused;
    this.failures = 0;
    this.abort = null;
    this.others = null;
    this.last = null; // the status, while this page follows
    this.timer = null;
    this.isStopped = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.again()));
    window.addEventListener("online", () => this.again());
  }

  /** Connects now, unless it is connected. */
  again() {
    clearTimeout(this.timer);
    if (this.abort === null && !document.hidden) this.follow();
  }

  pause() {
    clearTimeout(this.timer);
    if (this.abort !== null) this.abort.abort();
  }

  async follow() {
    const abort = new AbortController();
    this.abort = abort;
    const name = `${NAME} ${tab.get(TOKEN) ?? ""}`; // who has no token hears nothing of those that have one
    this.join(name);
    let why = "The proxy has ended the connection";
    let isRefused = false;
    try {
      await (navigator.locks ? navigator.locks.request(name, { signal: abort.signal }, () => this.read(abort)) : this.read(abort));
    } catch (error) {
      isRefused = error instanceof NeedsToken;
      if (!isRefused) why = abort.isSilent || error instanceof TypeError ? "The proxy does not answer" : sentence(error.message);
    }
    this.abort = null;
    this.last = null;
    if (isRefused) this.refused();
    else if (!document.hidden) this.wait(why);
  }

  /** Hears what the page that follows tells, and tells others if it is this one. */
  join(name) {
    if (this.others?.name === name || !navigator.locks) return;
    this.others?.close();
    this.others = new BroadcastChannel(name);
    this.others.onmessage = ({ data: { status, why } }) => {
      if (document.hidden) return;
      if (status) this.show(status);
      else if (why) this.lost(why);
      else if (this.last) this.others.postMessage({ status: this.last });
    };
    this.others.postMessage({});
  }

  show(status) {
    this.failures = 0;
    this.told(status);
  }

  wait(why) {
    const wait_ms = WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
    this.failures += 1;
    this.lost(why);
    this.others?.postMessage({ why });
    this.timer = setTimeout(() => this.again(), wait_ms);
  }

  async read(abort) {
    const watch = () => setTimeout(() => { abort.isSilent = true; abort.abort(); }, SILENT_MS);
    let silence = watch();
    try {
      const reply = await ask("/status/events", { signal: abort.signal });
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = watch();
        text = this.take(text + value);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  /** Takes the whole events from the text; gives back what is left. */
  take(text) {
    const events = text.split("\n\n");
    const rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (!data) continue;
      if (lines.includes("event: error")) throw new Error(JSON.parse(data).error);
      this.last = JSON.parse(data);
      this.others?.postMessage({ status: this.last });
      this.show(this.last);
    }
    return rest;
  }
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
