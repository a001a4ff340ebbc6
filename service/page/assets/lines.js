// Draws the scored lines: in the text as it was sent, and as a table.

import { element, labelName, labelOf, share, SIGNS, t } from "/assets/shared.js";

export function sureness(score) {
  if (score.confidence === null) return "none";
  if (score.confidence >= 0.85) return "high";
  return score.confidence >= 0.65 ? "middle" : "low";
}

// What stands before a line: a sign and a word for the label, and how sure. None of it needs colour.
function tag(score) {
  const label = labelOf(score);
  const word = label === "none" ? t(`reason_short_${score.reason}`) : t(`short_${label}`);
  const sure = score.confidence === null || label === "none" ? "" : ` ${share(score.confidence)}`;
  return element("span", { class: "tag" },
    `${SIGNS[label]} `, element("span", { class: "tag-label" }, word), sure,
    score.is_disputed ? element("span", { class: "dispute" }, `⚑ ${t("disputed")}`) : null);
}

function lineElement(line, { select, isShown, selected }) {
  const { score, number } = line;
  const dataset = { label: labelOf(score), sure: sureness(score), number };
  const made = element("span", {
    class: isShown(line) ? "line" : "line is-dimmed", role: "button", tabindex: "-1", dataset,
    "aria-expanded": String(selected === number), lang: score.language ?? "",
  }, tag(score), line.text);
  made.addEventListener("click", () => {
    // Whoever marks a piece of the text to copy it does not want the scores.
    if (String(getSelection()) === "") select(line, made);
  });
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(line, made); }
  });
  return made;
}

export function renderText(view, parts, handlers) {
  const pieces = document.createDocumentFragment();
  for (const part of parts) {
    let at = 0;
    for (const line of part.lines) {
      pieces.append(part.text.slice(at, line.start), lineElement(line, handlers));
      at = line.end;
    }
    pieces.append(part.text.slice(at));
  }
  view.replaceChildren(pieces);
  const reachable = view.querySelector(`[data-number="${handlers.selected}"]`) ?? view.querySelector(".line:not(.is-dimmed)");
  reachable?.setAttribute("tabindex", "0");
  view.onkeydown = (event) => moveFocus(view, event);
}

// One line is in the tab order; the arrow keys go from line to line.
function moveFocus(view, event) {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const lines = [...view.querySelectorAll(".line:not(.is-dimmed)")];
  const at = lines.indexOf(document.activeElement);
  if (at < 0) return;
  const ends = { Home: 0, End: lines.length - 1 };
  const next = lines[event.key in ends ? ends[event.key] : at + (steps[event.key] ?? 0)];
  if (!next || next === lines[at]) return;
  event.preventDefault();
  lines[at].setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

export function renderTable(view, lines, { select }) {
  const heads = ["number", "text", "label", "confidence", "set", "language"];
  const head = element("tr", {}, ...heads.map((name) =>
    element("th", { scope: "col", class: name === "number" || name === "confidence" ? "number" : "" }, t(`column_${name}`))));
  const rows = lines.map((line) => rowElement(line, select));
  view.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

function rowElement(line, select) {
  const { score } = line;
  const label = labelOf(score);
  const open = element("button", { type: "button", class: "open", lang: score.language ?? "" }, line.text);
  open.addEventListener("click", () => select(line, open));
  const named = label === "none" ? `${labelName(null)}: ${t(`reason_short_${score.reason}`)}` : labelName(label);
  return element("tr", {},
    element("td", { class: "number" }, String(line.number)),
    element("td", { class: "statement" }, open),
    element("td", { class: "label-cell", dataset: { label } }, `${SIGNS[label]} ${named}`, score.is_disputed ? ` ⚑ ${t("disputed")}` : null),
    element("td", { class: "number" }, share(score.confidence)),
    element("td", {}, (score.prediction_set ?? []).map(labelName).join(", ")),
    element("td", {}, t(`language_${score.language ?? "none"}`)));
}
