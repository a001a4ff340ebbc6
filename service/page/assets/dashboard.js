// The dashboard: everything on it comes from the public API.

import { ask, count, download, element, faultText, LABELS, labelName, labelOf, share, SIGNS, t, time } from "/assets/shared.js";
import { lineChart, shareBars, stackedBars } from "/assets/charts.js";

const DAY = 86400000;
const REFRESH_MILLISECONDS = 60000;
const NEWEST = 8;
const byId = (id) => document.getElementById(id);

function chosen() {
  const days = Number(byId("range").value);
  const filters = { since: new Date(Date.now() - days * DAY).toISOString() };
  if (byId("language").value) filters.language = byId("language").value;
  if (byId("source").value) filters.source = byId("source").value;
  return { days, filters };
}

function bucketOf(days) {
  if (days <= 2) return "hour";
  return days <= 90 ? "day" : "week";
}

async function read(path, parameters) {
  const address = `${path}?${new URLSearchParams(parameters)}`;
  const response = await ask(address);
  return (await response.json()).rows;
}

async function load() {
  const { days, filters } = chosen();
  // Whole buckets only, so that the first is not cut.
  const span = { ...filters, since: startOfBucket(filters.since, bucketOf(days)) };
  const bucket = bucketOf(days);
  byId("problem").hidden = true;
  try {
    const [series, summary, newest, disputes] = await Promise.all([
      read("/v1/stats/timeseries", { ...span, bucket, group_by: "label", fill: "true", until: new Date().toISOString() }),
      read("/v1/stats/summary", span),
      read("/v1/scores", { ...span, label: "likely_disinformation_narrative", limit: NEWEST }),
      read("/v1/scores", { ...span, is_disputed: "true", limit: NEWEST }),
    ]);
    show({ series, summary, newest, disputes });
    byId("updated").textContent = t("dash_updated", { time: time(new Date().toISOString()) });
  } catch (error) {
    showProblem(error);
  }
}

function startOfBucket(iso, bucket) {
  const date = new Date(iso);
  if (bucket === "hour") date.setUTCMinutes(0, 0, 0);
  else date.setUTCHours(0, 0, 0, 0);
  // Weeks begin on Monday (ISO 8601).
  if (bucket === "week") date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString();
}

function showProblem(error) {
  const box = byId("problem");
  box.replaceChildren(faultText(error));
  box.append(element("button", { type: "button", onclick: load }, t("retry")));
  box.hidden = false;
}

function show({ series, summary, newest, disputes }) {
  const all = summary.find((row) => row.dimension === "all");
  const isEmpty = !all || all.n === 0;
  byId("empty").hidden = !isEmpty;
  byId("figures").hidden = isEmpty;
  if (isEmpty) return;
  const of = (dimension) => summary.filter((row) => row.dimension === dimension && row.n > 0);
  showCards(all, of("label"));
  showSeries(series);
  showBars("chart-language", of("language").map((row) => ({ ...row, name: t(`language_${row.value ?? "none"}`) })), "column_language");
  showBars("chart-source", of("source").slice(0, 15).map((row) => ({ ...row, name: sourceName(row.value) })), "column_source");
  offerSources(of("source"));
  showLines("newest", newest, "dash_no_newest");
  showLines("disputes", disputes, "dash_no_disputes");
}

function sourceName(value) {
  if (value === null) return t("dash_no_source");
  return value === "(other)" ? t("dash_other_sources") : value;
}

function showCards(all, labels) {
  const n = (name) => labels.find((row) => row.value === name)?.n ?? 0;
  const cards = [
    ["card_all", count(all.n), null],
    ["card_disinformation", `${count(n("likely_disinformation_narrative"))} · ${share(n("likely_disinformation_narrative") / all.n)}`, "likely_disinformation_narrative"],
    ["card_abstained", `${count(n("none"))} · ${share(n("none") / all.n)}`, "none"],
    ["card_confidence", share(all.mean_confidence), null],
    ["card_disputed", count(all.n_disputed), "allegation"],
  ];
  byId("cards").replaceChildren(...cards.map(([name, value, label]) =>
    element("li", label ? { dataset: { label } } : {}, element("strong", {}, value), element("span", {}, t(name)))));
}

function byTime(series) {
  const buckets = new Map();
  for (const row of series) {
    const bucket = buckets.get(row.time) ?? { time: row.time, n: 0, groups: {}, weighted: 0, scored: 0 };
    bucket.n += row.n;
    bucket.groups[row.group] = row.n;
    if (row.mean_confidence !== null) {
      bucket.weighted += row.mean_confidence * row.n;
      bucket.scored += row.n;
    }
    buckets.set(row.time, bucket);
  }
  return [...buckets.values()].sort((a, b) => a.time.localeCompare(b.time));
}

function showSeries(series) {
  const buckets = byTime(series);
  const groups = [...LABELS, "none"];
  draw("chart-labels", stackedBars(buckets.map((b) => ({ time: b.time, values: groups.map((g) => b.groups[g] ?? 0) })), groups, widthOf("chart-labels")),
    table(["column_time", ...groups.map((g) => `label_${g}`)], buckets.map((b) => [time(b.time), ...groups.map((g) => count(b.groups[g] ?? 0))])));
  const ratio = (b, group) => (b.n ? (b.groups[group] ?? 0) / b.n : null);
  const lines = {
    "chart-share": ["likely_disinformation_narrative", (b) => ratio(b, "likely_disinformation_narrative")],
    "chart-abstained": ["none", (b) => ratio(b, "none")],
    "chart-confidence": [null, (b) => (b.scored ? b.weighted / b.scored : null)],
  };
  for (const [id, [label, value]] of Object.entries(lines)) {
    const points = buckets.map((b) => ({ time: b.time, value: value(b) }));
    draw(id, lineChart(points, label, widthOf(id)), table(["column_time", "column_value"], points.map((p) => [time(p.time), share(p.value, 1)])));
  }
}

function widthOf(id) {
  const style = getComputedStyle(byId(id));
  return Math.max(240, byId(id).clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight));
}

function showBars(id, rows, head) {
  draw(id, shareBars(rows), table([head, "column_lines", "column_share", "confidence", "column_disputed"],
    rows.map((row) => [row.name, count(row.n), share(row.share, 1), share(row.mean_confidence), count(row.n_disputed)])));
}

function draw(id, chart, figures) {
  const box = byId(id);
  const wasOpen = box.querySelector("details")?.open ?? false;
  for (const old of [...box.children].slice(1)) old.remove();
  const details = element("details", {}, element("summary", {}, t("chart_table")), element("div", { tabindex: "0", role: "region", "aria-label": t("chart_table") }, figures));
  details.open = wasOpen;
  box.append(chart, details);
}

function table(heads, rows) {
  const kind = (index) => (index ? "number" : "");
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((name, i) => element("th", { scope: "col", class: kind(i) }, t(name))))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell, i) => element(i ? "td" : "th", i ? { class: kind(i) } : { scope: "row" }, String(cell)))))));
}

function offerSources(rows) {
  const select = byId("source");
  const known = new Set([...select.options].map((option) => option.value));
  for (const row of rows) {
    if (row.value !== null && row.value !== "(other)" && !known.has(row.value)) select.append(element("option", { value: row.value }, row.value));
  }
}

function showLines(id, rows, emptyText) {
  const items = rows.map((row) => {
    const label = labelOf(row);
    const where = row.stored_document_id ? `/?lang=${document.documentElement.lang}&document=${row.stored_document_id}` : null;
    const meta = [`${SIGNS[label]} ${labelName(row.label)}`, share(row.confidence), row.source, time(row.scored_at)].filter(Boolean).join(" · ");
    return element("li", {},
      element("p", { lang: row.language ?? "" }, where ? element("a", { href: where }, row.text) : row.text),
      element("p", { class: "meta" }, meta));
  });
  byId(id).replaceChildren(...(items.length ? items : [element("li", { class: "help" }, t(emptyText))]));
}

byId("controls").addEventListener("submit", (event) => { event.preventDefault(); load(); });
byId("controls").addEventListener("change", load);
document.addEventListener("credence-key", load);
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", async () => {
    const { format } = button.dataset;
    try {
      const response = await ask(`/v1/scores?${new URLSearchParams({ ...chosen().filters, format })}`);
      download(`credence-scores.${format}`, await response.blob());
    } catch (error) {
      showProblem(error);
    }
  });
}
setInterval(() => { if (!document.hidden) load(); }, REFRESH_MILLISECONDS);
load();
