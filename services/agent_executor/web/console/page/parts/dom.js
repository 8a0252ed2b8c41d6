// Makes elements. Text is only ever put in as text, so that no data can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an HTML element.
 * @param {string} tag "div", or "div.class.other".
 * @param {object} properties Attributes; `on` holds listeners, `style` CSS properties, and what is
 *   null, undefined or false is left out.
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElement(name), classes, properties, children);
}

/** Makes an SVG element; otherwise as `h`. */
export function s(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElementNS(SVG, name), classes, properties, children);
}

function filled(element, classes, properties, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (name === "style") {
      for (const [property, to] of Object.entries(value)) element.style.setProperty(property, to);
    } else if (name === "value") {
      element.value = value;
    } else if (/^on/i.test(name)) {
      throw new TypeError("Listeners go into `on`.");
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

/** Appends children, nested lists and all; null, undefined and false are nothing. */
export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Puts children in the place of those that an element has. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Sets an element's text, unless it has it already: what is read aloud is not read twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The path of an icon, drawn in the colour of its text. */
const ICONS = {
  runs: "M4 6h11M4 12h16M4 18h8",
  approvals: "M5 12.5l4.5 4.5L19 7.5",
  costs: "M5 20V11M12 20V4M19 20v-6",
  agents: "M12 12a4 4 0 100-8 4 4 0 000 8zM4.5 20c.8-3.5 3.8-5 7.5-5s6.700 1.500 7.500 5",
  tools: "M14.500 6.500a4 4 0 00-5.300 5.100L4 16.800 7.200 20l5.200-5.200a4 4 0 005.100-5.300L15 12l-3-3z",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v2.500M12 19.500V22M2 12h2.500M19.500 12H22M5 5l1.700 1.700M17.300 17.300L19 19M19 5l-1.700 1.700M6.700 17.300L5 19",
  moon: "M20 14.500A8.500 8.500 0 019.500 4a8.500 8.500 0 1010.500 10.500z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  keyboard: "M3 6.500h18v11H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  leave: "M14 4H6v16h8M10 12h10M17 8.500l3.500 3.500-3.500 3.500",
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  copy: "M9 9h10v11H9zM5 15V4h10",
  close: "M6 6l12 12M18 6L6 18",
};

/** Draws an icon, which is for the eye only. */
export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    s("path", { d: ICONS[name] }));
}
