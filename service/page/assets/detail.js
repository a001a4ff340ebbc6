// The panel beside the text: what one line got, what that means and does not mean, and a way to disagree.

import { ask, element, labelName, labelOf, OUTCOMES, share, ServiceProblem, SIGNS, t } from "/assets/shared.js";

let current = null;

export function closeDetail() {
  if (current === null) return;
  const { opener, onClose } = current;
  current = null;
  const panel = document.getElementById("detail");
  panel.hidden = true;
  panel.parentElement.classList.remove("has-detail");
  onClose?.();
  opener?.focus();
}

export function showDetail(line, options) {
  if (line.number === null) return;
  current = { ...options, line };
  const panel = document.getElementById("detail");
  panel.dataset.label = labelOf(line.score);
  panel.replaceChildren(...content(line, options));
  panel.hidden = false;
  panel.parentElement.classList.add("has-detail");
  panel.scrollTop = 0;
}

function content(line, { total, onFeedback }) {
  const { score } = line;
  const label = labelOf(score);
  const close = element("button", { type: "button", class: "plain-button", onclick: closeDetail }, t("detail_close"));
  return [
    element("div", { class: "detail-head" },
      element("h3", {}, `${SIGNS[label]} ${labelName(score.label)}`), close),
    element("p", { class: "help" }, t("detail_line", { n: line.number, total })),
    element("blockquote", { lang: score.language ?? "" }, line.text),
    ...meaning(score, label),
    score.is_cut ? element("p", {}, t("detail_cut")) : null,
    ...scores(score),
    facts(score),
    element("p", {}, element("strong", {}, t("disclaimer"))),
    feedback(line, onFeedback),
  ].filter((part) => part !== null);
}

function meaning(score, label) {
  if (label === "none") {
    return [element("h4", {}, t("detail_why_none")), element("p", {}, t(`reason_${score.reason}`))];
  }
  return [element("h4", {}, t("detail_means")), element("p", {}, t(`means_${label}`)), element("p", {}, element("em", {}, t(`not_${label}`)))];
}

function scores(score) {
  if (score.scores === null) return [];
  const bars = OUTCOMES.map((outcome) => {
    const bar = element("i", {});
    bar.style.width = `${score.scores[outcome] * 100}%`;
    return element("li", { dataset: { label: outcome } },
      element("span", {}, labelName(outcome)), element("span", {}, share(score.scores[outcome], 1)),
      element("span", { class: "bar" }, bar));
  });
  return [
    element("h4", {}, t("detail_scores")), element("ul", { class: "bars" }, ...bars),
    element("h4", {}, t("detail_set")),
    element("p", {}, score.prediction_set.map(labelName).join(", ")),
    element("p", { class: "help" }, t("detail_set_help")),
  ];
}

function facts(score) {
  const pairs = [
    ["detail_language", t(`language_${score.language ?? "none"}`)],
    ["detail_model", score.model_version],
    ["detail_bundle", score.bundle_digest.slice(0, 12)],
    ["detail_id", score.score_id ?? t("detail_unkept")],
  ];
  return element("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [element("dt", {}, t(name)), element("dd", {}, value)]));
}

function feedback(line, onFeedback) {
  if (line.score.score_id === null) return element("p", { class: "help" }, t("feedback_unkept"));
  const choice = element("select", { required: true },
    element("option", { value: "" }, t("feedback_choose")),
    ...OUTCOMES.filter((outcome) => outcome !== line.score.outcome).map((outcome) => element("option", { value: outcome }, labelName(outcome))));
  const reason = element("textarea", { maxlength: "2000" });
  const reviewer = element("input", { maxlength: "200", autocomplete: "name" });
  const told = element("p", { role: "status", class: "help" });
  const form = element("form", { class: "feedback" },
    element("h4", {}, t("feedback_heading")),
    element("label", {}, t("feedback_label"), choice),
    element("label", {}, t("feedback_reason"), reason),
    element("label", {}, t("feedback_reviewer"), reviewer),
    element("button", { type: "submit" }, t("feedback_send")), told);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const json = { score_id: line.score.score_id, proposed_label: choice.value };
    if (reason.value.trim()) json.reason = reason.value.trim();
    if (reviewer.value.trim()) json.reviewer = reviewer.value.trim();
    try {
      const answer = await (await ask("/v1/feedback", { method: "POST", json })).json();
      line.score.is_disputed = line.score.is_disputed || answer.is_dispute;
      told.textContent = t(answer.is_dispute ? "feedback_sent" : "feedback_agreed");
      onFeedback();
    } catch (error) {
      told.textContent = error instanceof ServiceProblem ? error.message : t("problem_network");
    }
  });
  return form;
}
