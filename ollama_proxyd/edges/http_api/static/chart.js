// The last 24 hours as a chart: what each backend's answers cost, hour by hour, and below it the modes.

export const WIDTH = 240;
export const HEIGHT = 100;
const STRIP = 6;
const GAP = 4;
const HOUR_S = 3600;
const LOOKS = 5; // further backends look like the last

function clock(unixSeconds) {
  return new Date(1000 * unixSeconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** What is drawn of the answer of /energy/hours, with joules as `energy` writes them: bars, stretches of the modes, a legend. */
export function hoursView(told, nowSeconds, energy, label = (mode) => mode) {
  const totals = new Map();
  for (const hour of told.hours)
    for (const [id, joules] of Object.entries(hour.backends)) totals.set(id, (totals.get(id) ?? 0) + joules);
  const backends = [...totals].sort((a, b) => b[1] - a[1]).map(([id, joules], at) => ({ id, text: energy(joules), look: Math.min(at, LOOKS - 1) }));
  const most = Math.max(...told.hours.map((hour) => hour.energy_joules));
  const total = told.hours.reduce((sum, hour) => sum + hour.energy_joules, 0);
  const error = told.hours.reduce((sum, hour) => sum + hour.energy_error_joules, 0);
  const end = told.since_unix_seconds + told.hours.length * HOUR_S;
  const x = (unixSeconds) => (WIDTH * (Math.max(unixSeconds, told.since_unix_seconds) - told.since_unix_seconds)) / (end - told.since_unix_seconds);
  const modes = told.modes.map((each, at) => ({
    mode: each.effective_mode,
    label: label(each.effective_mode),
    x: x(each.unix_seconds),
    width: x(told.modes[at + 1]?.unix_seconds ?? nowSeconds) - x(each.unix_seconds),
    title: `${label(each.effective_mode)} from ${clock(each.unix_seconds)}`,
  }));
  return {
    total,
    says: most > 0 ? `${energy(total)} ± ${energy(error)} for answers, at most ${energy(most)} an hour` : (told.history.reason ?? "No answers in these hours"),
    backends,
    bars: told.hours.map((hour) => ({ x: x(hour.unix_seconds), ...bar(hour, backends, most, energy) })),
    modes,
    axis: told.hours.filter((_, at) => at % 6 === 0).map((hour) => clock(hour.unix_seconds)),
  };
}

function bar(hour, backends, most, energy) {
  let y = HEIGHT;
  const there = backends.filter(({ id }) => hour.backends[id] > 0);
  const parts = there.map(({ id, look }) => {
    const height = (HEIGHT * hour.backends[id]) / most;
    y -= height;
    return { y, height, look };
  });
  const each = there.map(({ id }) => `${id} ${energy(hour.backends[id])}`).join(", ");
  return { parts, title: `${clock(hour.unix_seconds)}: ${each || energy(0)}` };
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The bars and the stretches as elements of an SVG whose viewBox is WIDTH by HEIGHT + GAP + STRIP. */
export function shapes({ bars, modes }) {
  const wide = WIDTH / bars.length;
  const groups = bars.map(({ x, parts, title }) =>
    draw("g", {}, draw("title", {}, title), draw("rect", { class: "hit", x, y: 0, width: wide, height: HEIGHT }),
      ...parts.map(({ y, height, look }) => draw("rect", { "data-look": look, x: x + wide / 8, y, width: (wide * 3) / 4, height }))));
  const strip = modes.map(({ mode, x, width, title }) =>
    draw("rect", { "data-mode": mode, x, y: HEIGHT + GAP, width, height: STRIP }, draw("title", {}, title)));
  return [draw("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), ...groups, ...strip];
}
