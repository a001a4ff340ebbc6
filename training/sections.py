"""What stands in the report of an evaluation, section by section, whatever it is written as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final, Literal

from credence.labels import OUTCOMES
from training.metrics import CALIBRATED_DRAWS, ECE_BINS
from training.parts import MIN_PART, OTHER_MONTHS, OTHER_SOURCES
from training.results import SET_COVERAGE, EvaluationResult, Figures
from training.targets import TARGETS, is_within

_MEANINGS: Final[dict[str, str]] = {
    "macro_f1": "mean of F1 over the four outcomes",
    "macro_f1_present": "mean of F1 over the outcomes that occur in the part",
    "macro_f1_weakest_language": "macro_f1 in the language where it is lowest",
    **{f"f1_{outcome}": f"F1 of {outcome}" for outcome in OUTCOMES},
    "precision": "share that is right among the statements given this outcome",
    "recall": "share that was found among the statements labelled so",
    "f1": "harmonic mean of precision and recall",
    "accuracy": "share of statements given the right outcome",
    "accuracy_at_70": "accuracy among the 70 % of statements that the model is surest of",
    "aurc": "area under the risk-coverage curve: mean share of errors over all coverages (Geifman & El-Yaniv 2017)",
    "log_loss": "mean negative logarithm of the probability given to the truth",
    "brier": "mean squared distance of the probabilities to the truth (Brier 1950)",
    "ece": f"calibration error: gap between confidence and accuracy in {ECE_BINS} bins of equal mass, all confidences",
    "ece_worst_language": "ece in the language where it is highest",
    "ece_if_calibrated": (
        "the calibration error that chance alone would give a perfectly calibrated model with these confidences on so "
        f"many statements: mean and 95 % range of {CALIBRATED_DRAWS} draws (Bröcker & Smith 2007; Roelofs et al. 2022)"
    ),
    "ece_debiased": "ece less the mean of ece_if_calibrated; about 0 or below for a calibrated model",
    "coverage_90": "share of 90 % prediction sets that hold the truth",
    "coverage_90_worst_gap": f"distance of coverage_90 from {SET_COVERAGE:.2f} in the language where it is largest",
    "mean_set_size": "mean number of outcomes in a 90 % prediction set",
}
_LOWER_IS_BETTER: Final = frozenset({"aurc", "log_loss", "brier", "ece"})
_NO_VALUE: Final = "-"
_SMALL: Final = f"Those with fewer than {MIN_PART} statements stand together as"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with what it shows; every row has as many cells as the header."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the report: sentences, then plots by name, then tables."""

    title: str
    sentences: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def anchor(self) -> str:
        """Return the name under which the section is linked."""
        return "-".join(self.title.lower().replace(",", "").split())


def report_sections(
    results: Sequence[EvaluationResult], texts: Mapping[str, str] | None, command: str
) -> tuple[Section, ...]:
    """Return the report on the first result beside the others; ``texts`` by id are for its worst errors."""
    main = results[0]
    return (
        *summary_sections(results),
        _languages(main),
        _parts("By source", "source", main.by_source, main.counts["source"], f"{_SMALL} {OTHER_SOURCES}."),
        _parts("By outcome", "outcome", main.by_outcome, main.counts["outcome"], ""),
        _parts("By length", "length", main.by_length, main.counts["length"], ""),
        _parts("By month", "month", main.by_month, main.counts["month"], f"{_SMALL} {OTHER_MONTHS}."),
        _calibration(main),
        _errors(main, texts),
        *([_suites(main)] if main.suites else []),
        _data(main, command),
    )


def summary_sections(results: Sequence[EvaluationResult]) -> tuple[Section, ...]:
    """Return what the first result comes to: its figures beside those of the others, and the differences."""
    main = results[0]
    return (_summary(main, results[1:]), *([_comparisons(main)] if main.compared_with else []))


def _summary(main: EvaluationResult, others: Sequence[EvaluationResult]) -> Section:
    names = [*TARGETS, *(name for name in _MEANINGS if name not in TARGETS)]
    names = [name for name in names if name in main.metrics]
    rows = []
    for name in names:
        target = TARGETS.get(name)
        bounds = (f"{target.must:.2f}", f"{target.goal:.2f}") if target else ("", "")
        value = main.metrics[name].value
        reached = _reached(value, target.must, target.goal, target.better) if target else ""
        beside = (f"{o.metrics[name].value:.3f}" if name in o.metrics else _NO_VALUE for o in others)
        rows.append((name, str(main.metrics[name]), *bounds, reached, *beside))
    header = ("figure", main.name, "must", "goal", "reached", *(o.name for o in others))
    about = (
        f"In brackets stands the 95 % interval over {main.resamples} bootstrap samples of whole clusters "
        "(Efron & Tibshirani 1993). The bounds are meant for the test statements.",
    )
    glossary = Table("What the figures are, here and below", ("figure", "meaning"), tuple(_MEANINGS.items()))
    return Section("Summary", about, tables=(Table("Figures and bounds", header, tuple(rows)), glossary))


def _reached(value: float, must: float | None, goal: float | None, better: Literal["higher", "lower"]) -> str:
    if must is None:
        return ""
    if goal is not None and is_within(value, goal, better):
        return "goal"
    return "must" if is_within(value, must, better) else "not yet"


def _comparisons(main: EvaluationResult) -> Section:
    names = list(next(iter(main.compared_with.values())))
    header = ("other model", *(f"{n} (lower is better)" if n in _LOWER_IS_BETTER else n for n in names))
    rows = tuple((other, *(str(figures[n]) for n in names)) for other, figures in main.compared_with.items())
    tests = tuple(
        (other, str(test.only_first), str(test.only_second), f"{test.p:.2g}") for other, test in main.mcnemar.items()
    )
    about = (
        f"Figures of {main.name} minus those of each other model, over the same bootstrap samples (Koehn 2004). "
        "An interval without 0 is a difference that the choice of statements does not explain.",
        "McNemar's exact test asks whether the statements that only one of two models gets right fall as evenly as "
        "for models equally good. It takes statements as independent; the intervals do not.",
    )
    return Section(
        "Comparisons",
        about,
        tables=(
            Table("Paired differences", header, rows),
            Table("McNemar's test", ("other model", f"only {main.name} right", "only the other right", "p"), tests),
        ),
    )


def _languages(main: EvaluationResult) -> Section:
    codes = list(main.by_language)
    names = [name for name in _MEANINGS if any(name in figures for figures in main.by_language.values())]
    rows = [("statements", *(str(main.counts["language"][code]) for code in codes))]
    rows.extend((name, *(_cell(main.by_language[code], name) for code in codes)) for name in names)
    table = Table("Figures by language", ("figure", *codes), tuple(rows))
    return Section("By language", plots=("by_language",), tables=(table,))


def _parts(title: str, kind: str, parts: Mapping[str, Figures], counts: Mapping[str, int], about: str) -> Section:
    names = [name for name in _MEANINGS if any(name in figures for figures in parts.values())]
    rows = tuple(
        (part, str(counts.get(part, 0)), *(_cell(figures, name) for name in names)) for part, figures in parts.items()
    )
    table = Table(f"Figures {title.lower()}", (kind, "statements", *names), rows)
    return Section(title, (about,) if about else (), tables=(table,))


def _cell(figures: Figures, name: str) -> str:
    return str(figures[name]) if name in figures else _NO_VALUE


def _calibration(main: EvaluationResult) -> Section:
    chance = main.metrics["ece_if_calibrated"]
    about = [
        f"The calibration error is {main.metrics['ece']}. Chance alone would give a perfectly calibrated model "
        f"{chance.value:.3f}, and in 95 of 100 cases between {chance.low:.3f} and {chance.high:.3f}. Resampling adds "
        "noise of its own, so the interval of a calibration error lies high; that of ece_debiased is put right.",
    ]
    if main.calibration is not None:
        about.append(
            f"The calibration was fitted on {main.calibration.fitted_on}. Where those are the statements measured "
            "here, the figures of confidence and of prediction sets flatter the model."
        )
    else:
        about.append("The model carries no calibration and gives no prediction sets.")
    names = ("ece", "ece_if_calibrated", "ece_debiased", "coverage_90", "mean_set_size", "aurc")
    every = {"all": main.metrics, **main.by_language}
    rows = tuple((part, *(_cell(figures, name) for name in names)) for part, figures in every.items())
    return Section(
        "Calibration and prediction sets",
        tuple(about),
        ("reliability", "reliability_by_language", "risk_coverage"),
        (Table("Confidence by language", ("language", *names), rows),),
    )


def _errors(main: EvaluationResult, texts: Mapping[str, str] | None) -> Section:
    tables = []
    for gold, given in permutations(OUTCOMES, 2):
        errors = [e for e in main.worst_errors if (e.gold, e.given) == (gold, given)]
        n = main.confusion[OUTCOMES.index(gold)][OUTCOMES.index(given)]
        rows = tuple(
            (e.id, e.language, f"{e.confidence:.3f}", *((" ".join(texts[e.id].split()),) if texts else ()))
            for e in errors
        )
        header = ("statement", "language", "confidence", *(("text",) if texts else ()))
        if rows:
            tables.append(Table(f"{gold}, given as {given} ({n} in all)", header, rows))
    about = "Of each kind of error the ten with the highest confidence, by the statement's id in the data."
    return Section("Confusion and worst errors", (about,), ("confusion",), tuple(tables))


def _suites(main: EvaluationResult) -> Section:
    rows = tuple(
        (
            suite.name,
            suite.what,
            str(suite.cases),
            str(suite.rate),
            suite.better,
            *(_NO_VALUE if bound is None else f"{bound:.2f}" for bound in (suite.must, suite.goal)),
            _reached(suite.rate.value, suite.must, suite.goal, suite.better),
            str(len(suite.failures)),
        )
        for suite in main.suites
    )
    header = ("suite", "what is counted", "cases", "rate", "better", "must", "goal", "reached", "gone wrong")
    about = "The ids of the cases gone wrong stand in the JSON file beside this report."
    return Section("Behavioural suites", (about,), tables=(Table("Suites", header, rows),))


def _data(main: EvaluationResult, command: str) -> Section:
    languages = ", ".join(f"{code} {n}" for code, n in main.counts["language"].items())
    model = main.model_kind if main.bundle_digest is None else f"bundle {main.bundle_digest}"
    rows = (
        ("date", main.date),
        ("model", model),
        ("version", main.model_version or _NO_VALUE),
        ("MLflow run", main.mlflow_run_id or _NO_VALUE),
        ("calibration", main.calibration.id if main.calibration else _NO_VALUE),
        ("statements", f"{main.statements} of {main.origin}, split {main.split}: {languages}"),
        ("not scored", f"{main.unscored} taken for too short or another language; they count as not_a_claim"),
        ("digest of the statements and labels", main.statements_digest),
        ("codebook", f"version {main.codebook_version}"),
        *((f"SHA-256 of {name}", digest) for name, digest in sorted(main.data_digests.items())),
    )
    tables = (Table("What was measured, by what, when", ("what", "value"), rows),)
    return Section("Data, date and command", (f"Written by: {command}",) if command else (), tables=tables)
