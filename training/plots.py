"""Draws an evaluation result: confusion, reliability, risk and coverage, figures by language."""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from credence.calibration import ReliabilityBin
from credence.labels import OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.results import EvaluationResult

LANGUAGE_NAMES: Final = {"en": "English", "uk": "Ukrainian", "ru": "Russian"}
_INK: Final = "#22303c"
_SOFT: Final = "#8a96a1"
_GRID: Final = "#e4e8ec"
_MAIN: Final = "#2f6690"
# Okabe & Ito 2008: told apart by people who see colours differently.
_OTHERS: Final = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f", "#000000")
_BY_LANGUAGE: Final = {"en": "#2f6690", "uk": "#e69f00", "ru": "#b5483a"}
_DPI: Final = 150
_HIGHER: Final = {
    "macro_f1": "macro-F1",
    "f1_likely_disinformation_narrative": "disinformation\nF1",
    "accuracy": "accuracy",
    "accuracy_at_70": "accuracy at\n70 % coverage",
    "coverage_90": "coverage of\n90 % sets",
}
_LOWER: Final = {"ece": "calibration\nerror", "ece_if_calibrated": "by chance\nalone"}
# 95 % of the normal distribution.
_Z: Final = 1.96


def draw_plots(results: Sequence[EvaluationResult]) -> dict[str, Figure]:
    """Return the figures of the first result by name; risk and coverage stand beside those of the others."""
    main = results[0]
    return {
        "confusion": _confusion(main),
        "reliability": _reliability(main),
        "reliability_by_language": _reliability_by_language(main),
        "risk_coverage": _risk_coverage(results),
        "by_language": _by_language(main),
    }


def save_plot(figure: Figure, target: Any) -> None:
    """Write a figure as PNG to a path or an open binary file."""
    figure.savefig(target, format="png", dpi=_DPI)


def _figure(title: str, result: EvaluationResult, size: tuple[float, float], **grid: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes with the title at the left, and what was measured and when under all."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(**grid)
    figure.suptitle(title, x=0.01, ha="left", color=_INK, fontsize=12, fontweight="bold")
    what = f"{result.name}, {result.statements} statements of {result.split} ({result.origin}), {result.date}"
    figure.supxlabel(what, x=0.01, ha="left", color=_SOFT, fontsize=8)
    for part in np.ravel(axes):
        part.spines[["top", "right"]].set_visible(False)
        part.spines[["left", "bottom"]].set_color(_SOFT)
        part.tick_params(colors=_INK, labelsize=9)
        part.set_axisbelow(True)
    return figure, axes


def _confusion(result: EvaluationResult) -> Figure:
    figure, axes = _figure("Outcome by the label and by the model", result, (6.6, 5.6))
    counts = np.asarray(result.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [textwrap.fill(str(outcome).replace("_", " "), 14) for outcome in OUTCOMES]
    axes.set_xticks(range(len(OUTCOMES)), names)
    axes.set_yticks(range(len(OUTCOMES)), names)
    axes.set_xlabel("given by the model", color=_INK)
    axes.set_ylabel("labelled by the codebook", color=_INK)
    axes.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else _INK
        axes.text(column, row, f"{counts[row, column]}\n{share:.0%}", ha="center", va="center", color=colour)
    return figure


def _reliability(result: EvaluationResult) -> Figure:
    sizes = {"height_ratios": (3, 1)}
    figure, (above, below) = _figure(
        "How often an answer of this confidence is right", result, (6.6, 6.4), nrows=2, sharex=True, gridspec_kw=sizes
    )
    _draw_bins(above, [b for b in result.reliability if b.language == "all"], _MAIN)
    edges = np.linspace(0, 1, len(result.confidence_histogram) + 1)
    below.bar(edges[:-1], result.confidence_histogram, np.diff(edges), align="edge", color=_MAIN, edgecolor="white")
    below.set_ylabel("statements", color=_INK)
    below.set_xlabel("confidence", color=_INK)
    return figure


def _reliability_by_language(result: EvaluationResult) -> Figure:
    codes = [code for code in SUPPORTED_LANGUAGES if code in result.by_language]
    figure, axes = _figure(
        "How often an answer of this confidence is right, by language",
        result,
        (3.4 * len(codes) + 0.6, 4.2),
        ncols=len(codes),
        sharey=True,
        squeeze=False,
    )
    for part, code in zip(axes[0], codes, strict=True):
        _draw_bins(part, [b for b in result.reliability if b.language == code], _BY_LANGUAGE[code])
        error = result.by_language[code]["ece"].value
        name = f"{LANGUAGE_NAMES[code]}, {result.counts['language'][code]} statements\ncalibration error {error:.3f}"
        part.set_title(name, color=_INK, fontsize=10, loc="left")
        part.set_xlabel("mean confidence of the bin", color=_INK)
    for part in axes[0][1:]:
        part.set_ylabel("")
    return figure


def _draw_bins(axes: Any, bins: Sequence[ReliabilityBin], colour: str) -> None:
    """Draw the share right of each bin with its 95 % Wilson interval (Wilson 1927)."""
    confidences, shares = np.asarray([b.mean_confidence for b in bins]), np.asarray([b.accuracy for b in bins])
    n = np.asarray([b.n_statements for b in bins])
    centre = (shares + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(shares * (1 - shares) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    # Rounding may put an end of the interval a hair on the wrong side of the share.
    reach = np.maximum(0, [shares - (centre - half), centre + half - shares])
    axes.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.errorbar(
        confidences, shares, reach, fmt="o-", color=colour, markersize=4, capsize=2, linewidth=1.4, elinewidth=0.8
    )
    axes.set_xlim(0.2, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share right (95 % interval)", color=_INK)
    axes.grid(color=_GRID)
    axes.legend(frameon=False, fontsize=8, loc="upper left", labelcolor=_INK)


def _risk_coverage(results: Sequence[EvaluationResult]) -> Figure:
    figure, axes = _figure("Errors among the surest answers", results[0], (9.6, 5.0))
    for number, result in reversed(list(enumerate(results))):
        risks = np.asarray(result.risk_by_coverage)
        colour = _MAIN if number == 0 else _OTHERS[(number - 1) % len(_OTHERS)]
        label = f"{result.name}: {result.metrics['aurc'].value:.3f}"
        axes.plot(np.arange(1, 101), 100 * risks, color=colour, linewidth=2.4 if number == 0 else 1.2, label=label)
    axes.axvline(70, color=_SOFT, linewidth=1, linestyle=":")
    axes.text(69, 1, "70 % coverage", rotation=90, ha="right", va="bottom", color=_SOFT, fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, None)
    axes.set_xlabel("coverage: share of statements answered, the surest first (%)", color=_INK)
    axes.set_ylabel("risk: errors among them (%)", color=_INK)
    axes.grid(color=_GRID)
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(
        handles[::-1],
        labels[::-1],
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        title="model: area under its line",
        alignment="left",
    )
    legend.get_title().set_color(_INK)
    return figure


def _by_language(result: EvaluationResult) -> Figure:
    has_sets = "coverage_90" in result.metrics
    higher = {name: text for name, text in _HIGHER.items() if has_sets or name != "coverage_90"}
    widths = {"width_ratios": (len(higher), len(_LOWER))}
    figure, (left, right) = _figure("Figures by language", result, (9.6, 4.6), ncols=2, gridspec_kw=widths)
    _draw_bars(left, result, higher)
    _draw_bars(right, result, _LOWER)
    left.set_ylim(0, 1.02)
    left.set_title("higher is better", color=_INK, fontsize=10, loc="left")
    left.set_ylabel("value (95 % interval)", color=_INK)
    right.set_title("lower is better", color=_INK, fontsize=10, loc="left")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9, labelcolor=_INK)
    return figure


def _draw_bars(axes: Any, result: EvaluationResult, names: dict[str, str]) -> None:
    codes = [code for code in SUPPORTED_LANGUAGES if code in result.by_language]
    width = 0.8 / len(codes)
    for number, code in enumerate(codes):
        intervals = [result.by_language[code][name] for name in names]
        values = np.asarray([i.value for i in intervals])
        reach = np.maximum(0, [values - [i.low for i in intervals], [i.high for i in intervals] - values])
        places = np.arange(len(names)) + (number - (len(codes) - 1) / 2) * width
        axes.bar(places, values, width * 0.92, color=_BY_LANGUAGE[code], label=LANGUAGE_NAMES[code])
        axes.errorbar(places, values, reach, fmt="none", ecolor=_INK, elinewidth=0.8, capsize=2)
    axes.set_xticks(range(len(names)), names.values(), fontsize=9)
    axes.grid(axis="y", color=_GRID)
