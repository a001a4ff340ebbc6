// What both pages use: texts of the interface, calls of the public API, and the tools in the masthead.

const texts = JSON.parse(document.getElementById("page-texts").textContent);
const language = document.documentElement.lang;
const KEY_STORE = "credence-key";
const THEMES = ["auto", "light", "dark"];
export const LABELS = ["factual_report", "allegation", "likely_disinformation_narrative"];
export const OUTCOMES = [...LABELS, "not_a_claim"];
export const SIGNS = texts.signs;

export function t(key, values = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

export function share(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  const format = (figure) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(figure);
  const step = 10 ** -(digits + 2);
  // Rounding must not turn a few into none, nor nearly all into all.
  if (value > 0 && value < step / 2) return `< ${format(step)}`;
  if (value < 1 && value > 1 - step / 2) return `> ${format(1 - step)}`;
  return format(value);
}

export function count(value) {
  return new Intl.NumberFormat(language).format(value);
}

export function time(iso) {
  const options = { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" };
  return new Intl.DateTimeFormat(language, options).format(new Date(iso));
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "dataset") Object.assign(made.dataset, value);
    else if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A fault in words for the person at the page. `status` is 0 where no answer came.
export class ServiceProblem extends Error {
  constructor(status, message, retrySeconds = null) {
    super(message);
    this.status = status;
    this.retrySeconds = retrySeconds;
  }
}

// What went wrong in words for the person at the page, whoever found it.
export function faultText(error) {
  return error instanceof ServiceProblem ? error.message : t("problem_other", { detail: error.name });
}

function stored(area, key) {
  try {
    return area.getItem(key);
  } catch {
    return null;
  }
}

function store(area, key, value) {
  try {
    area.setItem(key, value);
  } catch {
    // Where storage is forbidden the choice lasts as long as the page.
  }
}

export function keepDraft(text) {
  store(sessionStorage, "credence-draft", text);
}

export function takeDraft() {
  const draft = stored(sessionStorage, "credence-draft");
  try {
    sessionStorage.removeItem("credence-draft");
  } catch {
    return null;
  }
  return draft;
}

export async function ask(path, { method = "GET", json, body, type, signal, headers = {} } = {}) {
  const key = stored(sessionStorage, KEY_STORE);
  const sent = { Accept: "application/json", ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  if (json !== undefined) sent["Content-Type"] = "application/json";
  else if (type) sent["Content-Type"] = type;
  let response;
  try {
    response = await fetch(path, { method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceProblem(0, t("problem_network"));
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

async function problemOf(response) {
  const seconds = Math.max(1, Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 1);
  const problem = await response.json().catch(() => ({}));
  const kind = (problem.type ?? "").split(":").pop();
  if (kind === "storage-unavailable") return new ServiceProblem(503, t("problem_storage"), null);
  if (response.status === 429 || response.status === 503) {
    return new ServiceProblem(response.status, t("problem_busy", { seconds }), seconds);
  }
  if (response.status === 401) return new ServiceProblem(401, t("problem_key"));
  if (response.status === 403) return new ServiceProblem(403, t("problem_scope"));
  if (response.status === 404) return new ServiceProblem(404, t("problem_missing"));
  if (response.status === 413) return new ServiceProblem(413, t("problem_too_long"));
  return new ServiceProblem(response.status, t("problem_other", { detail: problem.detail ?? response.status }));
}

// Tries again where the service is busy and says for how long; gives up after a few times.
export async function askPatiently(path, options, tell) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!(error instanceof ServiceProblem) || error.retrySeconds === null || attempt >= 4) throw error;
      tell(t("problem_busy_retrying", { seconds: error.retrySeconds }));
      await pause(error.retrySeconds * 1000, options.signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}

export function download(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

export function labelOf(score) {
  return score.label ?? "none";
}

export function labelName(label) {
  return t(`label_${label ?? "none"}`);
}

function showTheme(button, theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = t(`theme_${theme}`);
}

function prepareMasthead() {
  const themeButton = document.getElementById("theme-toggle");
  showTheme(themeButton, document.documentElement.dataset.theme);
  themeButton.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    store(localStorage, "credence-theme", next);
    showTheme(themeButton, next);
  });
  const panel = document.getElementById("key-panel");
  const toggle = document.getElementById("key-toggle");
  const field = document.getElementById("api-key");
  field.value = stored(sessionStorage, KEY_STORE) ?? "";
  toggle.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    toggle.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) field.focus();
  });
  panel.addEventListener("submit", (event) => {
    event.preventDefault();
    store(sessionStorage, KEY_STORE, field.value.trim());
    panel.hidden = true;
    toggle.setAttribute("aria-expanded", "false");
    toggle.focus();
    document.dispatchEvent(new CustomEvent("credence-key"));
  });
  // What is open stays open in the other language.
  for (const link of document.querySelectorAll("[data-language]")) {
    link.addEventListener("click", () => {
      const address = new URL(location.href);
      address.searchParams.set("lang", link.dataset.language);
      link.href = address.pathname + address.search;
    });
  }
}

prepareMasthead();
