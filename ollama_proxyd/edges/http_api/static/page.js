// Small steps on the page; what has not changed is left alone.

export const by = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Fills an element anew only when what it shows is another. */
export function fill(element, key, build) {
  const text = JSON.stringify(key);
  if (element.filledWith === text) return;
  element.filledWith = text;
  element.replaceChildren(...build());
}

/** Puts a text on the clipboard, and says so on the button. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // the clipboard is only for pages of this machine or under TLS
  }
  const said = button.dataset.said ?? button.textContent;
  button.dataset.said = said;
  button.textContent = "✓";
  setTimeout(() => { button.textContent = said; }, 1200);
}

function copyBySelection(text) {
  const area = make("textarea", { class: "unseen" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
