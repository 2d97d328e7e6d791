// The chat page: which conversation is open, what is typed, and what is sent.

import { Answering } from "./answering.js";
import { OPTIONS } from "./asking.js";
import { Conversations } from "./conversations.js";
import { act, announce, askForToken, follow, tellNotice } from "./frame.js";
import { amount, t } from "./i18n.js";
import { browser } from "./memory.js";
import { AnswerView, asked } from "./message.js";
import { by, fill, make, mark, say } from "./page.js";
import { MOST_PICTURES, address, asBase64, filesIn, isPicture } from "./pictures.js";
import { Picker } from "./picker.js";
import { phrase } from "./reasons.js";
import * as store from "./store.js";
import { change } from "./stream.js";

const MODEL = "ollama-proxyd-model";
const MOST_TITLE = 60;
const MOST_WORDS = 4_000_000; // characters of a paste
const running = new Map(); // answers under way, by conversation
const shown = new WeakMap(); // elements, by message
let conversation = fresh();
let pictures = [];
let edited = null; // the message that is changed
let isAtEnd = true;
let status = null;
let setReady;
const ready = new Promise((go) => { setReady = go; });

function fresh() {
  const id = [...crypto.getRandomValues(new Uint8Array(12))].map((each) => each.toString(16).padStart(2, "0")).join("");
  return { id, title: "", updated: Date.now(), model: browser.get(MODEL) ?? "", system: "", options: {}, think: "", tools: "", messages: [] };
}

const picker = new Picker(() => ({ conversation, words: by("words").value, hasPictures: pictures.length > 0 }), chooseModel);
const list = new Conversations({ open: openConversation, removed, renamed });

// The conversation on the page

function show() {
  const answering = running.get(conversation.id);
  const elements = conversation.messages.map((message, at) => elementOf(message, at, answering));
  for (const each of [...by("messages").children]) if (!elements.includes(each)) each.remove();
  by("messages").append(...elements.filter((each) => !each.isConnected));
  by("welcome").hidden = conversation.messages.length > 0;
  say(by("title"), conversation.title || t("New chat"));
  list.current = conversation.id;
  list.show();
  const place = conversation.messages.length ? `#${conversation.id}` : "";
  if (location.hash !== place) history.pushState(null, "", place || location.pathname);
  showModel();
  showSending();
  isAtEnd = true;
  toEnd();
}

/** What stands on the page for a message; it is made once, since an answer is rendered by the proxy. */
function elementOf(message, at, answering) {
  const isUnderWay = answering?.message === message;
  if (shown.has(message) && !isUnderWay && !message.calls) return shown.get(message);
  message.at = at;
  const element = message.role === "assistant" ? answerView(message, answering).element : asked(message, { edit });
  shown.set(message, element);
  return element;
}

function answerView(message, answering) {
  if (!message.meta && answering?.message !== message) message.meta = { trouble: t("The answer broke off: the page was closed.") };
  const view = new AnswerView(message, conversation.model, { retry, results, isLast: (each) => each === conversation.messages.at(-1), settle: toEnd });
  if (answering?.message === message) answering.showOn(view);
  return view;
}

async function openConversation(id) {
  detach();
  const found = running.get(id)?.conversation ?? (await store.body(id).catch(() => undefined));
  if (!found) return;
  endEdit();
  conversation = found;
  showSide(false);
  show();
  by("words").focus();
}

/** An answer under way goes on when another conversation is opened. */
function detach() {
  const answering = running.get(conversation.id);
  if (!answering) return;
  answering.showOn(null);
  shown.delete(answering.message);
}

/** Opens the conversation that the address names: after a reload, and as one goes back and forth. */
function openNamed() {
  const id = location.hash.slice(1);
  return id ? openConversation(id) : undefined;
}

function startNew() {
  detach();
  endEdit();
  const { model } = conversation;
  conversation = { ...fresh(), model };
  showSide(false);
  show();
  by("words").focus();
}

function removed(id) {
  if (id === null) for (const each of running.values()) each.abort.abort();
  else running.get(id)?.abort.abort();
  if (id === null || id === conversation.id) startNew();
}

async function renamed(id, title) {
  const found = id === conversation.id ? conversation : await store.body(id);
  found.title = title;
  await store.save(found);
  if (found === conversation) say(by("title"), title);
}

// Sending

async function send() {
  await ready; // words that are sent while the page still asks for the models wait for them
  const words = by("words").value.trim();
  if ((!words && !pictures.length) || running.has(conversation.id)) return;
  if (!conversation.model) return picker.open();
  if (edited) conversation.messages.length = conversation.messages.indexOf(edited);
  conversation.messages.push({ role: "user", content: words, ...(pictures.length ? { images: pictures } : {}) });
  by("words").value = "";
  pictures = [];
  showPictures();
  endEdit();
  grow();
  return answer();
}

function results(told) {
  conversation.messages.push(...told);
  answer();
}

function retry(message) {
  if (running.has(conversation.id)) return;
  conversation.messages.length = conversation.messages.indexOf(message);
  answer();
}

/** Has the conversation answered; in one tab at a time. */
async function answer() {
  const here = conversation;
  mark(by("log"), "aria-busy", "true");
  if (!navigator.locks) return answerHere(here);
  return navigator.locks.request(`ollama-proxyd ${here.id}`, { ifAvailable: true }, (lock) => (lock ? answerHere(here) : refuse()));
}

function refuse() {
  tellNotice(t("Another tab is having this conversation answered."));
  showSending();
}

async function answerHere(here) {
  const message = { role: "assistant", content: "", model: here.model };
  here.messages.push(message);
  here.updated = Date.now();
  here.title ||= here.messages[0].content.slice(0, MOST_TITLE) || t("A picture");
  const answering = new Answering(here, message, { keep, ended, refused: askForToken });
  running.set(here.id, answering);
  if (here === conversation) show();
  const end = answering.run(); // what is kept does not hold up what is asked
  await keep(here);
  await list.load();
  await end;
}

async function keep(which) {
  if (!running.has(which.id) && !list.heads.some((each) => each.id === which.id)) return; // it was deleted meanwhile
  try {
    await store.save(which);
  } catch (error) {
    const reason = error?.name === "QuotaExceededError" ? t("its storage is full") : (error?.message ?? t("not known"));
    tellNotice(t("This browser does not keep the conversation: {reason}", { reason }));
  }
}

async function ended(answering) {
  const { id } = answering.conversation;
  const { trouble } = answering.meta;
  announce(trouble ?? t("The answer is there."));
  await keep(answering.conversation);
  running.delete(id);
  if (answering.conversation === conversation) {
    showSending();
    showModel();
  }
  if (!answering.meta.request_id) return;
  const view = answering.view ?? new AnswerView(answering.message, "", { settle() {}, isLast: () => false });
  await view.book();
  await keep(answering.conversation);
}

function edit(message) {
  if (running.has(conversation.id)) return;
  edited = message;
  by("words").value = message.content;
  pictures = message.images ?? [];
  by("editing").hidden = false;
  showPictures();
  grow();
  by("words").focus();
}

function endEdit() {
  if (edited) {
    by("words").value = "";
    pictures = [];
    showPictures();
  }
  edited = null;
  by("editing").hidden = true;
}

function showSending() {
  const isRunning = running.has(conversation.id);
  by("send").hidden = isRunning;
  by("stop").hidden = !isRunning;
  mark(by("log"), "aria-busy", isRunning);
}

// Model, mode and parameters

function chooseModel(name) {
  conversation.model = name;
  browser.set(MODEL, name);
  showModel();
  by("words").focus();
}

/** Whether the model reads pictures; null where its engine does not tell. */
function sees() {
  const told = picker.models.find((each) => each.name === conversation.model)?.capabilities ?? [];
  return told.length ? told.includes("vision") : null;
}

function showSight() {
  const isBlind = sees() === false;
  const says = isBlind ? t("This model reads no pictures") : t("Add a picture");
  mark(by("picture"), "aria-disabled", isBlind);
  for (const name of ["aria-label", "title"]) mark(by("picture"), name, says);
}

async function showModel() {
  showSight();
  say(by("model-name"), conversation.model || t("Choose a model"));
  if (!conversation.model) return say(by("model-where"), "");
  const { text, isUnable } = await picker.ask(conversation.model);
  say(by("model-where"), text);
  by("model-where").classList.toggle("unable", isUnable);
  return undefined;
}

function showMode() {
  fill(by("mode"), status.modes.map((each) => each.mode), () => status.modes.map((each) => make("option", { value: each.mode }, t(each.label))));
  by("mode").value = status.mode;
  by("mode").title = phrase(status).text;
}

function showOptions() {
  const fields = OPTIONS.map(({ name, label, least, most, step }) => {
    const field = make("input", { type: "number", id: `option-${name}`, min: least, max: most, step });
    return make("p", {}, make("label", { for: field.id }, t(label)), field);
  });
  by("options").replaceChildren(...fields);
}

function openTune() {
  const { system, options, think, tools } = conversation;
  by("system").value = system;
  by("think").value = think;
  by("tools").value = tools;
  for (const { name } of OPTIONS) by(`option-${name}`).value = options[name] ?? "";
  by("tune-dialog").showModal();
}

function keepTune(event) {
  const tools = by("tools").value.trim();
  try {
    if (tools && !Array.isArray(JSON.parse(tools))) throw new Error(t("a list is needed"));
  } catch (error) {
    event.preventDefault();
    return say(by("tools-error"), error.message);
  }
  say(by("tools-error"), "");
  const set = OPTIONS.map(({ name }) => [name, by(`option-${name}`).value]).filter(([, value]) => value !== "");
  Object.assign(conversation, { system: by("system").value.trim(), think: by("think").value, tools, options: Object.fromEntries(set.map(([name, value]) => [name, Number(value)])) });
  if (conversation.messages.length) keep(conversation);
  return showModel();
}

// Pictures

async function addPictures(files) {
  if (!files.length) return undefined;
  if (sees() === false) return tellNotice(`${t("This model reads no pictures")}.`);
  const found = files.filter(isPicture);
  const room = MOST_PICTURES - pictures.length;
  for (const file of found.slice(0, room)) await act(async () => pictures.push(await asBase64(file)));
  if (found.length < files.length) tellNotice(t("Only pictures can be added: PNG, JPEG, WebP or GIF."));
  else if (found.length > room) tellNotice(t("A message has at most {count} pictures.", { count: MOST_PICTURES }));
  if (pictures.length) showModel();
  return showPictures();
}

function showPictures() {
  by("pictures").hidden = pictures.length === 0;
  by("pictures").replaceChildren(...pictures.map((base64, at) => {
    const image = make("img", { src: address(base64), alt: t("Picture {number}", { number: at + 1 }) });
    const drop = make("button", { type: "button", class: "plain-button", "aria-label": t("Leave out picture {number}", { number: at + 1 }) }, "×");
    drop.addEventListener("click", () => {
      pictures.splice(at, 1);
      showPictures();
    });
    return make("li", {}, image, drop);
  }));
}

// The window

function toEnd() {
  if (isAtEnd) by("log").scrollTop = by("log").scrollHeight;
}

const MOST_HEIGHT_PX = 240;
const LONG = 4000; // letters that fill the field in any case, and take long to be measured

function grow() {
  const field = by("words");
  if (field.value.length < LONG) field.style.blockSize = "auto";
  field.style.blockSize = `${field.value.length < LONG ? Math.min(field.scrollHeight, MOST_HEIGHT_PX) : MOST_HEIGHT_PX}px`;
}

function showSide(isShown) {
  by("chat").classList.toggle("side-shown", isShown);
  by("side-open").setAttribute("aria-expanded", String(isShown));
}

function keys(event) {
  if (event.key === "Escape" && running.has(conversation.id) && !document.querySelector("dialog[open]")) running.get(conversation.id).abort.abort();
  const isTyping = /INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName);
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    by("words").focus();
  }
}

function typed(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
  if (event.key === "ArrowUp" && by("words").value === "") {
    const last = conversation.messages.findLast((each) => each.role === "user");
    if (last) edit(last);
  }
}

by("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
by("stop").addEventListener("click", () => running.get(conversation.id)?.abort.abort());
by("words").addEventListener("input", grow);
by("words").addEventListener("keydown", typed);
by("words").addEventListener("change", showModel);
by("edit-end").addEventListener("click", endEdit);
by("new").addEventListener("click", startNew);
by("side-open").addEventListener("click", () => { showSide(true); by("search").focus(); });
by("side-close").addEventListener("click", () => showSide(false));
by("tune").addEventListener("click", openTune);
by("tune-form").addEventListener("submit", keepTune);
by("mode").addEventListener("change", () => act(() => change("/efficiency", { mode: by("mode").value })));
by("picture").addEventListener("click", () => (sees() === false ? tellNotice(`${t("This model reads no pictures")}.`) : by("picture-file").click()));
by("picture-file").addEventListener("change", () => addPictures([...by("picture-file").files]));
by("log").addEventListener("scroll", () => { isAtEnd = by("log").scrollHeight - by("log").scrollTop - by("log").clientHeight < 60; }, { passive: true });
document.addEventListener("keydown", keys);
document.addEventListener("paste", (event) => {
  addPictures(filesIn(event.clipboardData));
  if ((event.clipboardData?.getData("text").length ?? 0) <= MOST_WORDS) return;
  event.preventDefault(); // a field with more keeps the browser busy for minutes
  tellNotice(t("At most {count} characters can be pasted.", { count: amount(MOST_WORDS) }));
});
for (const name of ["dragover", "drop"])
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return; // words are dropped as everywhere
    event.preventDefault();
    if (name === "drop") addPictures(filesIn(event.dataTransfer));
  });
window.addEventListener("popstate", () => (location.hash ? openNamed() : startNew()));
window.addEventListener("pagehide", () => { for (const each of running.values()) store.stash(each.conversation); });

store.onChange(async (id) => {
  await list.load();
  if (id === conversation.id && !running.has(id)) {
    conversation = (await store.body(id)) ?? conversation;
    show();
  }
});

async function begin() {
  await act(() => picker.load());
  await act(() => store.unstash());
  if (!picker.models.some((each) => each.name === conversation.model)) conversation.model = picker.models[0]?.name ?? "";
  await list.load();
  await openNamed();
  show();
  setReady();
}

let isBegun = false;
let modeShown = "";
showOptions();
follow((now) => {
  status = now;
  showMode();
  if (!isBegun) begin();
  else if (modeShown !== status.effective_mode) showModel();
  isBegun = true;
  modeShown = status.effective_mode;
});
