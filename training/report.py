"""What people read of an evaluation: tables, plots and the model card."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from credence.calibration import Calibration
from credence.labels import CODEBOOK_VERSION, DISCLAIMER, MEANINGS, OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.config import ExperimentConfig
from training.corpora import Corpus, Example
from training.evaluation import Predictions, clusters_of, gold_columns, measure, set_coverage, subset
from training.metrics import Interval, confusion, macro_f1, paired_difference
from training.sources import source_licences

_MIN_SOURCE_ROWS: Final = 20
_COLUMNS: Final = ("macro_f1", "disinformation_f1", "accuracy", "accuracy_at_70", "ece", "brier")
_PART_COLUMNS: Final = ("macro_f1", "accuracy", "ece")
_INK: Final = "#22303c"
_BAR: Final = "#3b6ea5"


_CARD: Final = """# Model card: credence {version}

{disclaimer}

Made on {today} by the recipe `{recipe}` (seed {seed}), tracked as run `{run_id}`. Outcomes after codebook
version {codebook}:

{meanings}

## Use
Sorting lines of news in English, Ukrainian and Russian for a person who checks facts. It is not for deciding whether a
claim is true, whether a person or outlet lies, or what may be published; a label never replaces a person's reading.

## Model
multilingual-e5-small (MIT; encoder weights: {encoder}), vocabulary trimmed to the three languages, mean pooling, a
linear head over four outcomes. Weights are stored in 8-bit blocks, the word embedding in 4-bit rows.

## Data
{n_learned} statements ({by_language}). Weights learned from a set inherit the questions of its licence: several
sets below state none, and some allow no commercial use.

{data}

## Figures
On {n_dev} held-back development statements ({dev_origin}), with a calibration fitted out of fold. Test figures, with
every baseline beside them, stand in README.md.

{figures}

## Limits
Labels were given by language models after the codebook, not by a newsroom. Lines of other languages are not scored.
Sarcasm, cut-off lines and storylines younger than the data are often misread. An invented event that nothing in the
line betrays reads as a report. Names, quotations and events in the project's own statements are partly invented.
"""


def comparison_table(models: Sequence[Predictions], examples: Sequence[Example]) -> str:
    """Return a Markdown table of models, with the paired difference in macro-F1 of the first to each of the others."""
    gold, clusters = gold_columns(examples), clusters_of(examples)
    header = ["model", *_COLUMNS, f"{models[0].name} minus it, macro_f1"]
    rows = []
    for model in models:
        figures = measure(model, examples, _COLUMNS)
        difference = (
            ""
            if model is models[0]
            else str(paired_difference(macro_f1, models[0].probabilities, model.probabilities, gold, clusters))
        )
        rows.append([model.name, *(str(figures[column]) for column in _COLUMNS), difference])
    return markdown_table(header, rows)


def breakdown_table(model: Predictions, examples: Sequence[Example]) -> str:
    """Return a Markdown table of one model by language and by source, with set coverage where it gives sets."""
    rows = []
    for name, chosen in _groups(examples):
        part, members = subset(model, chosen), [examples[i] for i in chosen]
        figures, sets = measure(part, members, _PART_COLUMNS), set_coverage(part, members)
        coverage = f"{sets[0]:.3f}; {sets[1]:.2f}" if sets else "-"
        rows.append([name, str(len(chosen)), *(str(figures[c]) for c in _PART_COLUMNS), coverage])
    return markdown_table(["part", "n", *_PART_COLUMNS, "set coverage; mean size"], rows)


def outcome_table(model: Predictions, examples: Sequence[Example]) -> str:
    """Return a Markdown table of F1 by outcome and of the confusion counts."""
    figures = measure(model, examples, [f"f1_{outcome}" for outcome in OUTCOMES])
    counts = confusion(model.probabilities.argmax(1), gold_columns(examples))
    rows = [
        [str(outcome), str(figures[f"f1_{outcome}"]), *(str(n) for n in counts[i])]
        for i, outcome in enumerate(OUTCOMES)
    ]
    return markdown_table(["gold outcome", "F1", *(f"as {outcome}" for outcome in OUTCOMES)], rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns line up in plain text too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def write_plots(model: Predictions, examples: Sequence[Example], calibration: Calibration | None, folder: Path) -> None:
    """Draw the confusion matrix and, for a calibrated model, the reliability diagram as PNG files."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _confusion_plot(confusion(model.probabilities.argmax(1), gold_columns(examples))).savefig(folder / "confusion.png")
    if calibration is not None:
        _reliability_plot(calibration).savefig(folder / "reliability.png")


def write_card(
    path: Path, config: ExperimentConfig, corpus: Corpus, figures: Mapping[str, Interval], run_id: str
) -> None:
    """Write the model card (Mitchell et al. 2019, arXiv:1810.03993): use, data, licences, figures on dev, limits."""
    learned = corpus.learned()
    origins = Counter(e.origin for e in learned)
    languages = Counter(e.language for e in learned)
    licences = source_licences()
    data = markdown_table(
        ["source", "statements", "licence as stated"],
        [
            [origin, str(n), licences.get(origin, "Apache-2.0 (written for this project)")]
            for origin, n in origins.most_common()
        ],
    )
    text = _CARD.format(
        version=config.bundle.model_version,
        disclaimer=DISCLAIMER,
        today=date.today().isoformat(),
        recipe=config.name,
        seed=config.seed,
        run_id=run_id,
        codebook=CODEBOOK_VERSION,
        meanings="\n".join(f"- `{outcome}`: {meaning}" for outcome, meaning in MEANINGS.items()),
        encoder=config.encoder.name,
        n_learned=len(learned),
        by_language=", ".join(f"{code} {languages[code]}" for code in SUPPORTED_LANGUAGES),
        data=data,
        n_dev=len(corpus.held_back("dev")),
        dev_origin=corpus.main_origin.rstrip("/"),
        figures=markdown_table(["figure", "value [95 % interval]"], [[k, str(v)] for k, v in figures.items()]),
    )
    path.write_text(text, encoding="utf-8")


def _groups(examples: Sequence[Example]) -> list[tuple[str, list[int]]]:
    groups: list[tuple[str, list[int]]] = [("all", list(range(len(examples))))]
    for code in SUPPORTED_LANGUAGES:
        groups.append((code, [i for i, e in enumerate(examples) if e.language == code]))
    for origin, n in Counter(e.origin for e in examples).most_common():
        if n >= _MIN_SOURCE_ROWS:
            groups.append((origin, [i for i, e in enumerate(examples) if e.origin == origin]))
    return [(name, rows) for name, rows in groups if rows]


def _axes(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.2, 5.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, color=_INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _confusion_plot(counts: Any) -> Figure:
    figure, axes = _axes("Outcomes: labelled by hand against given by the model")
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [str(outcome).replace("_", "\n") for outcome in OUTCOMES]
    axes.set_xticks(range(len(OUTCOMES)), names)
    axes.set_yticks(range(len(OUTCOMES)), names)
    axes.set_xlabel("given by the model")
    axes.set_ylabel("labelled by hand")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else _INK
        axes.text(column, row, f"{counts[row, column]}\n{share:.0%}", ha="center", va="center", color=colour)
    return figure


def _reliability_plot(calibration: Calibration) -> Figure:
    figure, axes = _axes(f"How often an answer of this confidence is right\n{calibration.measured_on}")
    axes.plot([0, 1], [0, 1], color="#b5bec6", linestyle="--", label="perfect")
    colours = {"all": _INK, "en": _BAR, "uk": "#c98a1b", "ru": "#a5483b"}
    for code, colour in colours.items():
        bins = [b for b in calibration.reliability if b.language == code]
        axes.plot(
            [b.mean_confidence for b in bins], [b.accuracy for b in bins], "o-", color=colour, label=code, markersize=4
        )
    axes.set_xlabel("mean confidence of the bin")
    axes.set_ylabel("share right")
    axes.set_xlim(0.2, 1.02)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    return figure
