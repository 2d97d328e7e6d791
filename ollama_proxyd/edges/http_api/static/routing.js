// What if: a mode, a battery and a prompt, and the table of candidates with every term of their price.

import { explain, models } from "./asking.js";
import { act, follow, refresh } from "./frame.js";
import { t } from "./i18n.js";
import { by, fill, make } from "./page.js";
import { table } from "./why.js";

let asked = 0;

function number(id) {
  return by(id).value === "" ? undefined : Number(by(id).value);
}

/** The question that the form is; what is left as it is is not in it. */
function question() {
  const power = by("power").value;
  const system = power && { on_battery: power === "battery", ...(power === "battery" ? { battery_percent: number("battery") ?? 0 } : {}) };
  const told = { model: by("model").value || undefined, mode: by("mode").value || undefined, prompt_tokens: number("prompt"), max_tokens: number("most") };
  return { ...told, ...(system ? { system } : {}) };
}

async function show() {
  by("battery").disabled = by("power").value !== "battery";
  const turn = ++asked;
  const decision = await act(() => explain(question()));
  if (decision && turn === asked) by("outcome").replaceChildren(...table(decision));
}

async function begin() {
  const names = (await models()).map((each) => each.name);
  fill(by("model"), names, () => [make("option", { value: "" }, t("any")), ...names.map((name) => make("option", { value: name }, name))]);
  await show();
}

by("question").addEventListener("input", show);
by("question").addEventListener("submit", (event) => event.preventDefault());
let seen = "";
follow((status) => {
  const modes = status.modes.map(({ mode, label }) => [mode, label]);
  fill(by("mode"), modes, () => [make("option", { value: "" }, t("as it is")), ...modes.map(([mode, label]) => make("option", { value: mode }, t(label)))]);
  const now = JSON.stringify([status.effective_mode, status.backends.map((each) => [each.id, each.health, each.enabled])]);
  if (now !== seen) refresh(begin);
  seen = now;
});
