// Small charts in SVG. Each has a table of its figures beside it, so the pictures are hidden from screen readers.

import { count, element, labelName, share, SIGNS } from "/assets/shared.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const LEFT = 46;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 24;

function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "label") made.dataset.label = value;
    else made.setAttribute(key, value);
  }
  if (text !== null) made.textContent = text;
  return made;
}

function frame(width) {
  return shape("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" });
}

function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function drawAxis(svg, width, top, format) {
  for (const part of [0, 0.5, 1]) {
    const y = HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    svg.append(shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, format(top * part)));
  }
}

function drawTimes(svg, width, times, xOf) {
  const language = document.documentElement.lang;
  const isHourly = times.length > 1 && new Date(times[1]) - new Date(times[0]) < 86400000;
  const options = isHourly ? { hour: "2-digit", minute: "2-digit", timeZone: "UTC" } : { day: "numeric", month: "short", timeZone: "UTC" };
  const format = new Intl.DateTimeFormat(language, options);
  const step = Math.max(1, Math.ceil(times.length / Math.max(2, Math.floor(width / 110))));
  for (let index = 0; index < times.length; index += step) {
    const anchor = index === 0 ? "start" : "middle";
    svg.append(shape("text", { x: Math.min(xOf(index), width - 30), y: HEIGHT - 6, "text-anchor": anchor }, format.format(new Date(times[index]))));
  }
}

export function stackedBars(buckets, groups, width) {
  const svg = frame(width);
  const pattern = shape("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)", label: "none" });
  pattern.append(shape("rect", { width: 3, height: 6, class: "block" }));
  const definitions = shape("defs");
  definitions.append(pattern);
  svg.append(definitions);
  const top = ceiling(Math.max(1, ...buckets.map((bucket) => bucket.values.reduce((a, b) => a + b, 0))));
  drawAxis(svg, width, top, (value) => count(Math.round(value * 10) / 10));
  const slot = (width - LEFT - RIGHT) / Math.max(1, buckets.length);
  const thick = Math.max(1.5, Math.min(34, slot * 0.8));
  buckets.forEach((bucket, index) => {
    let y = HEIGHT - BOTTOM;
    bucket.values.forEach((value, at) => {
      const height = (value / top) * (HEIGHT - TOP - BOTTOM);
      y -= height;
      const kind = groups[at] === "none" ? "block is-hatched" : "block";
      if (height > 0) svg.append(shape("rect", { class: kind, label: groups[at], x: LEFT + index * slot + (slot - thick) / 2, y, width: thick, height }));
    });
  });
  drawTimes(svg, width, buckets.map((bucket) => bucket.time), (index) => LEFT + index * slot + slot / 2);
  const key = element("ul", { class: "chart-key" }, ...groups.map((group) =>
    element("li", { dataset: { label: group } }, element("i", { "aria-hidden": "true" }), `${SIGNS[group]} ${labelName(group)}`)));
  return element("div", {}, key, svg);
}

export function lineChart(points, label, width) {
  const svg = frame(width);
  if (label) svg.dataset.label = label;
  const known = points.filter((point) => point.value !== null);
  const top = Math.min(1, ceiling(Math.max(0.05, ...known.map((point) => point.value))));
  drawAxis(svg, width, top, (value) => share(value, top < 0.2 ? 1 : 0));
  const step = (width - LEFT - RIGHT) / Math.max(1, points.length - 1);
  const xOf = (index) => (points.length === 1 ? width / 2 : LEFT + index * step);
  const yOf = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  let path = "";
  points.forEach((point, index) => {
    if (point.value === null) return;
    // A bucket without lines has no share: the line breaks there.
    const follows = index > 0 && points[index - 1].value !== null;
    path += `${follows ? "L" : "M"}${xOf(index).toFixed(1)} ${yOf(point.value).toFixed(1)}`;
    if (points.length <= 60) svg.append(shape("circle", { class: "dot", cx: xOf(index), cy: yOf(point.value), r: 3 }));
  });
  svg.append(shape("path", { class: "series", d: path }));
  drawTimes(svg, width, points.map((point) => point.time), xOf);
  return svg;
}

export function shareBars(rows) {
  const list = element("ul", { class: "bars" });
  const most = Math.max(1, ...rows.map((row) => row.n));
  for (const row of rows) {
    const bar = element("i", {});
    bar.style.width = `${(row.n / most) * 100}%`;
    list.append(element("li", {}, element("span", {}, row.name), element("span", {}, `${count(row.n)} · ${share(row.share)}`), element("span", { class: "bar" }, bar)));
  }
  return list;
}
