// Conversations, kept in this browser alone: heads for the list, bodies when one is opened.

import { browser } from "./memory.js";

const NAME = "ollama-proxyd";
const CUT = `${NAME}-cut `;
export const MOST = 200; // conversations; of more, the ones that were not touched for longest are forgotten
const others = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
let opened = null;

function wait(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

function database() {
  opened ??= new Promise((done, failed) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("heads", { keyPath: "id" }).createIndex("updated", "updated");
      request.result.createObjectStore("bodies", { keyPath: "id" });
    };
    request.onsuccess = () => {
      request.result.onclose = () => { opened = null; }; // its data were cleared
      done(request.result);
    };
    request.onerror = () => failed(request.error);
  });
  return opened;
}

async function stores(mode) {
  const transaction = (await database()).transaction(["heads", "bodies"], mode);
  return { heads: transaction.objectStore("heads"), bodies: transaction.objectStore("bodies") };
}

/** A transaction that came to its end; the disk may be full until then. */
function whole(transaction) {
  return new Promise((done, failed) => {
    transaction.oncomplete = done;
    transaction.onabort = () => failed(transaction.error);
  });
}

/** Calls back when another tab has changed a conversation. */
export function onChange(told) {
  if (others) others.onmessage = (event) => told(event.data);
}

/** The heads, the latest first. */
export async function heads() {
  const { heads } = await stores("readonly");
  return (await wait(heads.index("updated").getAll())).reverse();
}

export async function body(id) {
  const { bodies } = await stores("readonly");
  return wait(bodies.get(id));
}

export async function save(conversation) {
  const { messages, ...rest } = conversation;
  const { heads, bodies } = await stores("readwrite");
  const kept = whole(heads.transaction);
  heads.put({ id: rest.id, title: rest.title, updated: rest.updated });
  bodies.put(structuredClone(conversation));
  forgetOldest(heads, bodies).catch(() => {}); // the transaction tells why
  await kept;
  others?.postMessage(conversation.id);
}

/** Keeps a conversation at once, as the page goes away: a transaction would be cut off. One that is too large is kept as it was. */
export function stash(conversation) {
  browser.set(CUT + conversation.id, JSON.stringify(conversation));
}

/** Puts what was kept so among the others, unless more of it is there. */
export async function unstash() {
  for (const key of stashed()) {
    const found = browser.get(key);
    const there = JSON.stringify((await body(key.slice(CUT.length))) ?? "");
    if (found && found.length > there.length) await save(JSON.parse(found));
    browser.remove(key);
  }
}

function stashed() {
  return browser.keys().filter((key) => key.startsWith(CUT));
}

async function forgetOldest(heads, bodies) {
  const surplus = (await wait(heads.count())) - MOST;
  if (surplus <= 0) return;
  for (const id of await wait(heads.index("updated").getAllKeys(null, surplus))) {
    heads.delete(id);
    bodies.delete(id);
  }
}

export async function remove(id) {
  browser.remove(CUT + id);
  const { heads, bodies } = await stores("readwrite");
  heads.delete(id);
  await wait(bodies.delete(id));
  others?.postMessage(id);
}

export async function removeAll() {
  for (const key of stashed()) browser.remove(key);
  const { heads, bodies } = await stores("readwrite");
  heads.clear();
  await wait(bodies.clear());
  others?.postMessage(null);
}

/** The ids of conversations in which some words stand. */
export async function having(words) {
  const wanted = words.toLowerCase();
  const { bodies } = await stores("readonly");
  const found = new Set();
  const request = bodies.openCursor();
  return new Promise((done, failed) => {
    request.onerror = () => failed(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) return done(found);
      const { id, title, messages } = cursor.value;
      if ([title, ...messages.map((each) => each.content)].some((text) => text.toLowerCase().includes(wanted))) found.add(id);
      cursor.continue();
      return undefined;
    };
  });
}

export async function all() {
  const { bodies } = await stores("readonly");
  return wait(bodies.getAll());
}
