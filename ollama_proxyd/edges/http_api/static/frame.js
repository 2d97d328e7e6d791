// What all pages share: the language, the connection to the proxy, the token, notices.

import { t, translate } from "./i18n.js";
import { by, mark, say } from "./page.js";
import { NeedsToken, Stream, forgetToken, hasToken, keepToken } from "./stream.js";

let shown = null;
let isLost = false;
let stream = null;
let isOfRefresh = false; // whether the notice is of something that nobody asked for

translate();
document.querySelector(".pages [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

export function tellNotice(text) {
  by("notice").hidden = text === "";
  say(by("notice"), text);
  isOfRefresh = false;
}

export function announce(text) {
  say(by("announcer"), text);
}

/** Tells what went wrong, and asks for the token where one is needed. */
export function failed(error) {
  if (error instanceof NeedsToken) askForToken();
  else tellNotice(t("That did not work: {reason}", { reason: reasonOf(error) }));
}

export function reasonOf(error) {
  return error instanceof TypeError ? t("the proxy does not answer") : error.message;
}

/** Does something, and tells where it fails. */
export async function act(what) {
  try {
    const done = await what();
    if (!isLost) tellNotice("");
    return done;
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** Does what nobody asked for, such as showing news: what a person was told stays to be read. */
export async function refresh(what) {
  try {
    await what();
    if (isOfRefresh) tellNotice("");
  } catch (error) {
    failed(error);
    isOfRefresh = true;
  }
}

function live(show, status) {
  const wasLost = isLost || shown === null;
  shown = new Date();
  isLost = false;
  by("token-form").hidden = true;
  by("content").hidden = false;
  if (wasLost) tellNotice("");
  document.body.classList.remove("stale");
  mark(by("link"), "data-state", "live");
  say(by("link-text"), t("Live"));
  say(by("version"), status.version);
  show(status);
}

function lose(why) {
  const since = shown === null ? "" : ` ${t("What you see is from {time}.", { time: shown.toLocaleTimeString() })}`;
  const text = `${t(why)}.${since} ${t("It is tried again by itself.")}`;
  if (!isLost) announce(text);
  isLost = true;
  document.body.classList.add("stale");
  mark(by("link"), "data-state", "lost");
  say(by("link-text"), t("Connection lost"));
  tellNotice(text);
}

export function askForToken() {
  say(by("token-error"), hasToken() ? t("That token is not the one.") : "");
  forgetToken();
  by("content").hidden = true;
  by("token-form").hidden = false;
  tellNotice("");
  mark(by("link"), "data-state", "waiting");
  say(by("link-text"), t("Token needed"));
  by("token").focus();
}

/** Shows each status from now on. */
export function follow(show) {
  stream = new Stream({ told: (status) => live(show, status), lost: lose, refused: askForToken });
  stream.again();
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(by("token").value);
  by("token").value = "";
  stream?.again();
});
