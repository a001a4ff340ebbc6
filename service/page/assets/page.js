// The page where a text is scored: takes text or a file, asks the API, and shows each line in place.

import { askPatiently, ask, count, download, element, faultText, keepDraft, LABELS, labelName, labelOf, ServiceProblem, share, t, takeDraft } from "/assets/shared.js";
import { closeDetail, showDetail } from "/assets/detail.js";
import { renderTable, renderText } from "/assets/lines.js";

const MAX_PART_CHARS = 20000;
const MAX_LIST = 64;
const byId = (id) => document.getElementById(id);
const form = byId("input-form");
const field = byId("text");

const state = { kind: "document", parts: [], lines: [], filter: "all", sort: "order", view: "text", selected: null, links: [] };
let running = null;

function say(text) {
  byId("status").textContent = text;
}

function showProblem(error, retry) {
  const box = byId("problem");
  box.replaceChildren(faultText(error));
  if (retry) box.append(element("button", { type: "button", onclick: retry }, t("retry")));
  box.hidden = false;
  say("");
}

// Trying the same again helps where the service was busy or away, and nowhere else.
function canHelp(error) {
  return !(error instanceof ServiceProblem) || error.status === 0 || error.status >= 429;
}

// A kept article is reached again by its address, so that neither a reload nor another language loses it.
function rememberLink() {
  const address = state.links.length ? permalink() : new URL(`/?lang=${document.documentElement.lang}`, location.href);
  history.replaceState(null, "", address);
}

function clearProblem() {
  byId("problem").hidden = true;
}

// Cuts at blank lines, else at line ends, else at spaces, so that no statement is cut where that can be helped.
export function cutIntoParts(text, limit = MAX_PART_CHARS) {
  const parts = [];
  let rest = text;
  while (rest.length > limit) {
    const head = rest.slice(0, limit);
    const at = ["\n\n", "\n", ". ", " "].map((mark) => head.lastIndexOf(mark) + mark.length).find((end) => end > limit / 2);
    let end = at ?? limit;
    // Never between the halves of a surrogate pair.
    if (/[\ud800-\udbff]/.test(rest[end - 1])) end -= 1;
    parts.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  parts.push(rest);
  return parts.filter((part) => part.trim() !== "");
}

function tags() {
  const named = { source: byId("source"), author: byId("author"), document_id: byId("document-id"), language: byId("language") };
  const given = Object.entries(named).map(([name, input]) => [name, input.value.trim()]);
  return Object.fromEntries(given.filter(([, value]) => value !== ""));
}

function plan(text) {
  const common = tags();
  const keep = byId("store").checked;
  if (state.kind === "document") {
    return cutIntoParts(text).map((part) => ({
      path: "/v1/documents", json: { text: part, store: keep, ...common },
      take: (answer) => addDocument(part, answer),
    }));
  }
  const rows = text.split(/\r?\n/).map((row) => row.trim()).filter((row) => row !== "");
  const portions = [];
  for (let at = 0; at < rows.length; at += MAX_LIST) {
    const portion = rows.slice(at, at + MAX_LIST);
    portions.push({
      path: "/v1/score", json: { statements: portion.map((row) => ({ text: row, ...common })), store: keep },
      take: (answer) => addStatements(portion, answer),
    });
  }
  return portions;
}

// Offsets of the API count code points, those of JavaScript UTF-16 units.
function unitOffsets(text) {
  const offsets = [];
  let unit = 0;
  for (const char of text) {
    offsets.push(unit);
    unit += char.length;
  }
  offsets.push(unit);
  return offsets;
}

function addDocument(text, answer) {
  const units = unitOffsets(text);
  const part = { text, lines: [] };
  for (const score of answer.statements) {
    const start = units[score.start_char];
    const end = units[score.end_char];
    part.lines.push({ score, start, end, text: text.slice(start, end), number: state.lines.length + part.lines.length + 1 });
  }
  state.parts.push(part);
  state.lines.push(...part.lines);
  if (answer.stored_document_id) state.links.push(answer.stored_document_id);
  state.model = answer.model;
  state.isStored = answer.stored_document_id !== null;
}

function addStatements(rows, answer) {
  answer.results.forEach((score, index) => {
    const text = rows[index];
    const line = { score, start: 0, end: text.length, text, number: state.lines.length + 1 };
    state.lines.push(line);
    state.parts.push({ text: `${text}\n`, lines: [line] });
  });
  state.model = answer.model;
  state.isStored = answer.stored;
}

function startResult() {
  Object.assign(state, { parts: [], lines: [], filter: "all", selected: null, links: [], scoredText: field.value });
  closeDetail();
}

async function run(steps) {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  clearProblem();
  startResult();
  render();
  byId("score").setAttribute("aria-disabled", "true");
  byId("progress").hidden = steps.length < 2;
  const total = steps.reduce((sum, step) => sum + JSON.stringify(step.json).length, 0);
  let done = 0;
  const started = performance.now();
  showProgress(0, steps.length, 0, total, started);
  say(t("status_scoring"));
  try {
    for (const [index, step] of steps.entries()) {
      const options = { method: "POST", json: step.json, signal: controller.signal };
      const response = await askPatiently(step.path, options, say);
      step.take(await response.json());
      done += JSON.stringify(step.json).length;
      showProgress(index + 1, steps.length, done, total, started);
      render();
    }
    say(t("status_done", { n: count(state.lines.length) }));
    rememberLink();
    byId("result-title").focus({ preventScroll: true });
    byId("result").scrollIntoView({ block: "start", behavior: "auto" });
  } catch (error) {
    if (error.name === "AbortError") say(t(state.lines.length ? "status_cancelled" : "status_cancelled_empty"));
    else showProblem(error, canHelp(error) ? () => run(steps) : null);
    if (running === controller) byId("score").focus();
  } finally {
    if (running === controller) {
      running = null;
      byId("score").removeAttribute("aria-disabled");
      byId("progress").hidden = true;
    }
  }
}

function showProgress(doneSteps, steps, done, total, started) {
  byId("progress-bar").value = total ? done / total : 0;
  const seconds = done ? Math.ceil(((performance.now() - started) / done) * (total - done) / 1000) : 0;
  byId("progress-text").textContent = done
    ? t("progress_part", { done: doneSteps, total: steps, seconds })
    : t("progress_start", { total: steps });
}

function isShown(line) {
  if (state.filter === "all") return true;
  if (state.filter === "disputed") return Boolean(line.score.is_disputed);
  return labelOf(line.score) === state.filter;
}

function sorted(lines) {
  const sure = (line) => line.score.confidence ?? -1;
  const rank = (line) => [...LABELS.toReversed(), "none"].indexOf(labelOf(line.score));
  const orders = {
    order: (a, b) => a.number - b.number,
    least: (a, b) => sure(a) - sure(b),
    most: (a, b) => sure(b) - sure(a),
    label: (a, b) => rank(a) - rank(b) || sure(b) - sure(a),
  };
  return lines.slice().sort(orders[state.sort]);
}

function render() {
  byId("result").hidden = state.lines.length === 0;
  if (state.lines.length === 0) return;
  renderSummary();
  renderFilters();
  const handlers = { select, isShown, selected: state.selected };
  renderText(byId("text-view"), state.parts, handlers);
  renderTable(byId("table-view"), sorted(state.lines.filter(isShown)), handlers);
  byId("text-view").hidden = state.view !== "text";
  byId("table-view").hidden = state.view !== "table";
  byId("sort-row").hidden = state.view !== "table";
  byId("view-text").setAttribute("aria-pressed", String(state.view === "text"));
  byId("view-table").setAttribute("aria-pressed", String(state.view === "table"));
  byId("copy-link").hidden = state.links.length === 0;
  byId("stale").hidden = field.value === state.scoredText;
  byId("key-hint").textContent = t(state.view === "text" ? "keys_hint" : "keys_hint_table");
  renderMeta();
}

function renderMeta() {
  const scored = state.lines.map((line) => line.score.confidence).filter((value) => value !== null);
  const mean = scored.length ? scored.reduce((a, b) => a + b, 0) / scored.length : null;
  byId("result-meta").textContent = [
    t("summary_lines", { n: count(state.lines.length) }),
    t("meta_model", { version: state.model.model_version }),
    t("meta_mean", { share: share(mean) }),
    t(state.isStored ? "meta_stored" : "meta_unstored"),
  ].join(" · ");
}

function tallies() {
  const found = Object.fromEntries([...LABELS, "none"].map((label) => [label, 0]));
  for (const line of state.lines) found[labelOf(line.score)] += 1;
  return found;
}

function renderSummary() {
  const boxes = Object.entries(tallies()).map(([label, n]) =>
    element("div", { class: "tally", dataset: { label } },
      element("strong", {}, count(n)),
      element("span", {}, labelName(label)), " ",
      element("small", {}, share(n / state.lines.length))));
  byId("summary").replaceChildren(...boxes);
}

function renderFilters() {
  const n = { all: state.lines.length, ...tallies(), disputed: state.lines.filter((line) => line.score.is_disputed).length };
  const buttons = Object.entries(n)
    .filter(([name, amount]) => name === "all" || amount > 0)
    .map(([name, amount]) => element("button", {
      type: "button", "aria-pressed": String(state.filter === name), dataset: { filter: name },
      onclick: () => {
        state.filter = name;
        render();
        document.querySelector(`[data-filter="${name}"]`)?.focus();
        say(t("status_filtered", { n: count(amount), total: count(state.lines.length) }));
      },
    }, `${name === "all" || name === "disputed" ? t(`filter_${name}`) : t(`short_${name}`)} ${count(amount)}`));
  byId("filters").replaceChildren(...buttons);
}

function select(line, opener) {
  state.selected = line.number;
  for (const shown of document.querySelectorAll(".line[aria-expanded]")) {
    shown.setAttribute("aria-expanded", String(Number(shown.dataset.number) === line.number));
  }
  showDetail(line, { total: state.lines.length, opener, onClose: () => select({ number: null }), onFeedback: render });
}

const COLUMNS = ["number", "statement", "label", "reason", "confidence", "prediction_set", "language", "score_id", "model_version"];

function toRows() {
  return sorted(state.lines.filter(isShown)).map(({ number, text, score }) => [
    number, text, score.label ?? "", score.reason ?? "", score.confidence === null ? "" : score.confidence.toFixed(4),
    (score.prediction_set ?? []).join("|"), score.language ?? "", score.score_id ?? "", score.model_version,
  ]);
}

// A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
function toCell(value, mark) {
  const text = String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return mark === "\t" ? safe.replace(/[\t\r\n]+/g, " ") : /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function toTable(mark) {
  const rows = [COLUMNS, ...toRows()].map((row) => row.map((cell) => toCell(cell, mark)).join(mark));
  return rows.join(mark === "\t" ? "\n" : "\r\n") + "\r\n";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context there is no clipboard but the old one.
    const holder = element("textarea", { class: "visually-hidden" });
    holder.value = text;
    document.body.append(holder);
    holder.select();
    document.execCommand("copy");
    holder.remove();
  }
  say(t("status_copied"));
}

function permalink() {
  const address = new URL("/", location.href);
  address.searchParams.set("lang", document.documentElement.lang);
  address.searchParams.set("document", state.links.join(","));
  return address.href;
}

async function openStored(ids) {
  say(t("status_loading"));
  startResult();
  try {
    for (const id of ids) {
      const answer = await (await ask(`/v1/documents/${encodeURIComponent(id)}`)).json();
      addDocument(answer.text, answer);
    }
    state.links = ids;
    field.value = state.parts.map((part) => part.text).join("");
    // A field of a page keeps line ends in a form of its own.
    state.scoredText = field.value;
    showCount();
    render();
    say(t("status_done", { n: count(state.lines.length) }));
  } catch (error) {
    const isGone = error instanceof ServiceProblem && [404, 422].includes(error.status);
    showProblem(isGone ? new ServiceProblem(404, t("problem_link")) : error, canHelp(error) ? () => openStored(ids) : null);
  }
}

async function readFile(file) {
  clearProblem();
  say(t("status_reading"));
  try {
    const type = file.type || "application/octet-stream";
    const path = `/v1/texts?${new URLSearchParams({ name: file.name })}`;
    const found = await (await ask(path, { method: "POST", body: file, type })).json();
    setKind(found.kind);
    field.value = found.kind === "statements" ? found.statements.join("\n") : found.text;
    showCount();
    say(t("status_file_read", { name: file.name }));
    field.focus();
  } catch (error) {
    showProblem(error);
  }
}

function setKind(kind) {
  state.kind = kind;
  form.querySelector(`[name=kind][value=${kind}]`).checked = true;
}

function showCount() {
  byId("counter").textContent = field.value ? t("count_chars", { n: count(field.value.length) }) : "";
}

function submit() {
  if (running) return;
  if (field.value.trim() === "") {
    showProblem(new ServiceProblem(0, t("problem_empty")));
    field.focus();
    return;
  }
  state.sort = "order";
  byId("sort").value = "order";
  run(plan(field.value));
}

function prepareForm() {
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  form.addEventListener("change", (event) => { if (event.target.name === "kind") state.kind = event.target.value; });
  field.addEventListener("input", () => {
    showCount();
    byId("stale").hidden = field.value === state.scoredText;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
  });
  byId("clear").addEventListener("click", () => {
    running?.abort();
    field.value = "";
    startResult();
    render();
    clearProblem();
    showCount();
    say("");
    field.focus();
  });
  byId("example").addEventListener("click", () => {
    setKind("document");
    field.value = t("example_text");
    showCount();
    submit();
  });
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) readFile(file);
    event.target.value = "";
  });
  const zone = byId("drop-zone");
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("is-over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("is-over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("is-over");
    const [file] = event.dataTransfer.files;
    if (file) readFile(file);
  });
}

function prepareToolbar() {
  for (const view of ["text", "table"]) {
    byId(`view-${view}`).addEventListener("click", () => { state.view = view; render(); });
  }
  byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; render(); });
  byId("copy-table").addEventListener("click", () => copy(toTable("\t")));
  // The mark makes spreadsheets read the file as UTF-8.
  byId("download-csv").addEventListener("click", () => download("credence.csv", new Blob([`\ufeff${toTable(",")}`], { type: "text/csv" })));
  byId("download-json").addEventListener("click", () => {
    const rows = sorted(state.lines.filter(isShown)).map(({ number, text, score }) => ({ number, text, ...score }));
    const content = JSON.stringify({ disclaimer: t("disclaimer"), model: state.model, rows }, null, 1);
    download("credence.json", new Blob([content], { type: "application/json" }));
  });
  byId("copy-link").addEventListener("click", () => copy(permalink()));
  byId("print").addEventListener("click", () => {
    renderTable(byId("table-view"), sorted(state.lines), { select, isShown: () => true, selected: null });
    window.print();
    render();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeDetail(); });
}

// What was typed goes along into the other language, and no further.
function carryDraft() {
  const draft = takeDraft();
  if (draft !== null) field.value = draft;
  for (const link of document.querySelectorAll("[data-language]")) {
    link.addEventListener("click", () => {
      if (state.links.length && field.value === state.scoredText) return;
      keepDraft(field.value);
      link.href = `?lang=${link.dataset.language}`;
    });
  }
}

prepareForm();
prepareToolbar();
carryDraft();
showCount();
const asked = new URLSearchParams(location.search).get("document");
if (asked) openStored(asked.split(",").filter(Boolean).slice(0, 200));
