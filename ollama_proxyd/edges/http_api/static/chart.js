// Energy over time as a chart: a stack for each hour or day, and below it the modes.

import { locale, t } from "./i18n.js";
import { phrase } from "./reasons.js";

export const WIDTH = 240;
export const HEIGHT = 100;
const STRIP = 6;
const GAP = 4;
const HOUR_S = 3600;
const LOOKS = 6; // further parts look like the last

export function clock(unixSeconds) {
  return new Date(1000 * unixSeconds).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

/**
 * What is drawn of columns, each with joules by `parts`: bars, and what they stand for, the costliest first.
 * `energy` writes joules, `when` says what a column is, `name` what a part is.
 */
export function stacks(columns, { energy, when, name = (key) => key }) {
  const totals = new Map();
  for (const column of columns)
    for (const [key, joules] of Object.entries(column.parts)) totals.set(key, (totals.get(key) ?? 0) + joules);
  const parts = [...totals].sort((a, b) => b[1] - a[1]).map(([key, joules], at) => ({ key, id: name(key), text: energy(joules), look: Math.min(at, LOOKS - 1) }));
  const most = Math.max(...columns.map((each) => each.energy_joules));
  const wide = WIDTH / columns.length;
  return {
    most,
    total: columns.reduce((sum, each) => sum + each.energy_joules, 0),
    error: columns.reduce((sum, each) => sum + each.energy_error_joules, 0),
    parts,
    bars: columns.map((column, at) => ({ x: at * wide, source: column.energy_source, sureness: sureness(column), ...bar(column, parts, most, energy, when(column)) })),
  };
}

/** How surely a sum is known, from a half to one: what may be wrong by a lot is drawn pale. */
function sureness({ energy_joules: sum_j, energy_error_joules: error_j }) {
  return sum_j > 0 ? Math.max(0.5, 1 - error_j / sum_j) : 1;
}

function bar(column, all, most, energy, when) {
  let y = HEIGHT;
  const there = all.filter(({ key }) => column.parts[key] > 0);
  const parts = there.map(({ key, look }) => {
    const height = (HEIGHT * column.parts[key]) / most;
    y -= height;
    return { y, height, look };
  });
  const each = there.map(({ key, id }) => `${id} ${energy(column.parts[key])}`).join(", ");
  const source = column.energy_source && ` (${t(column.energy_source)} ± ${energy(column.energy_error_joules)})`;
  return { parts, title: `${when}: ${each || energy(0)}${source ?? ""}` };
}

/** What is drawn of the answer of /energy/hours, with joules as `energy` writes them: bars, stretches of the modes, a legend. */
export function hoursView(told, nowSeconds, energy, label = (mode) => mode) {
  const view = stacks(told.hours.map((each) => ({ ...each, parts: each.backends })), { energy, when: (hour) => clock(hour.unix_seconds) });
  const end = told.since_unix_seconds + told.hours.length * HOUR_S;
  const x = (unixSeconds) => (WIDTH * (Math.max(unixSeconds, told.since_unix_seconds) - told.since_unix_seconds)) / (end - told.since_unix_seconds);
  const modes = told.modes.map((each, at) => ({
    mode: each.effective_mode,
    label: label(each.effective_mode),
    x: x(each.unix_seconds),
    width: x(told.modes[at + 1]?.unix_seconds ?? nowSeconds) - x(each.unix_seconds),
    title: t("{mode} from {time}", { mode: label(each.effective_mode), time: clock(each.unix_seconds) }),
  }));
  return {
    ...view,
    says: view.most > 0 ? `${t("{energy} for answers", { energy: `${energy(view.total)} ± ${energy(view.error)}` })}, ${t("at most {energy} an hour", { energy: energy(view.most) })}` : (phrase(told.history).text || t("No answers in these hours")),
    modes,
    axis: told.hours.filter((_, at) => at % 6 === 0).map((hour) => clock(hour.unix_seconds)),
  };
}

export function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The bars and the stretches as elements of an SVG whose viewBox is WIDTH by HEIGHT + GAP + STRIP. */
export function shapes({ bars, modes = [] }) {
  const wide = WIDTH / bars.length;
  const groups = bars.map(({ x, parts, source, sureness: opacity, title }) =>
    draw("g", { "data-source": source ?? "" }, draw("title", {}, title), draw("rect", { class: "hit", x, y: 0, width: wide, height: HEIGHT }),
      ...parts.map(({ y, height, look }) => draw("rect", { "data-look": look, opacity, x: x + wide / 8, y, width: (wide * 3) / 4, height }))));
  const strip = modes.map(({ mode, x, width, title }) =>
    draw("rect", { "data-mode": mode, x, y: HEIGHT + GAP, width, height: STRIP }, draw("title", {}, title)));
  return [draw("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), ...groups, ...strip];
}
