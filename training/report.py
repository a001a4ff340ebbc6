"""Writes what people read of a model: the report of an evaluation, and the model card."""

import base64
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from credence.labels import CODEBOOK_VERSION, DISCLAIMER, MEANINGS
from credence.language import SUPPORTED_LANGUAGES
from training.config import ExperimentConfig
from training.corpora import OWN_ORIGIN, Corpus, folders_of
from training.metrics import Interval
from training.plots import draw_plots, save_plot
from training.results import EvaluationResult, write_result
from training.sections import report_sections, summary_sections
from training.sources import FEEDBACK_ORIGIN, set_of, source_licences

_OWN_LICENCE: Final = "Apache-2.0 (written for this project)"
_FEEDBACK_LICENCE: Final = "texts sent by users of this service"
_DATA_URI: Final = "data:image/png;base64,"


def write_report(
    results: Sequence[EvaluationResult], folder: Path, *, texts: Mapping[str, str] | None = None, command: str = ""
) -> None:
    """Write the report on the first result beside the others, as Markdown and as HTML.

    The folder, made where it is missing, gets ``SPLIT.md``, ``SPLIT.html`` (which needs no other file), the plots as
    ``SPLIT.NAME.png``, and each result as JSON. ``texts`` by statement id are written beside the worst errors: texts of
    the data pack may be read so, but not passed on.
    """
    main = results[0]
    folder.mkdir(parents=True, exist_ok=True)
    for name, result in zip(_result_names(results), results, strict=True):
        write_result(result, folder / name)
    pictures = {name: _picture(figure) for name, figure in draw_plots(results).items()}
    files = {name: f"{main.split}.{name}.png" for name in pictures}
    for name, picture in pictures.items():
        (folder / files[name]).write_bytes(picture)
    uris = {name: _DATA_URI + base64.b64encode(picture).decode() for name, picture in pictures.items()}
    content = {
        "title": f"{main.name} on {main.split} ({main.origin}), {main.date}",
        "disclaimer": DISCLAIMER,
        "sections": report_sections(results, texts, command),
    }
    (folder / f"{main.split}.html").write_text(_render("report.html.j2", **content, plots=uris), encoding="utf-8")
    markdown = _render("report.md.j2", **content, plots=files)
    (folder / f"{main.split}.md").write_text(markdown, encoding="utf-8")


def markdown_summary(results: Sequence[EvaluationResult]) -> str:
    """Return the figures of the first result beside the others, and their differences, as Markdown."""
    sections = summary_sections(results)
    tables = [f"**{s.title}**\n\n{markdown_table(s.tables[0].header, s.tables[0].rows)}\n" for s in sections]
    return "\n".join([f"{DISCLAIMER}\n", *tables])


def write_card(
    path: Path,
    config: ExperimentConfig,
    corpus: Corpus,
    figures: Mapping[str, Interval],
    run_id: str,
    *,
    start: str | None = None,
) -> None:
    """Write the model card (Mitchell et al. 2019, arXiv:1810.03993): use, data, licences, figures on dev, limits.

    ``start`` names the bundle whose weights the run went on from, if it did.
    """
    learned = corpus.learned()
    sets = Counter(set_of(e.origin) for e in learned)
    languages = Counter(e.language for e in learned)
    licences = source_licences()
    data = [[name, str(n), _licence(name, licences)] for name, n in sets.most_common()]
    text = _render(
        "card.md.j2",
        version=config.bundle.model_version,
        disclaimer=DISCLAIMER,
        today=date.today().isoformat(),
        recipe=config.name,
        seed=config.seed,
        run_id=run_id,
        codebook=CODEBOOK_VERSION,
        meanings="\n".join(f"- `{outcome}`: {meaning}" for outcome, meaning in MEANINGS.items()),
        encoder=config.encoder.name,
        start=start,
        n_learned=len(learned),
        by_language=", ".join(f"{code} {languages[code]}" for code in SUPPORTED_LANGUAGES),
        data=markdown_table(["source", "statements", "licence as stated"], data),
        has_feedback=any(name.startswith(FEEDBACK_ORIGIN) for name in sets),
        n_dev=len(corpus.held_back("dev")),
        dev_origin=folders_of(corpus.held_back("dev")),
        figures=markdown_table(["figure", "value [95 % interval]"], [[k, str(v)] for k, v in figures.items()]),
    )
    path.write_text(text, encoding="utf-8")


def _licence(name: str, licences: Mapping[str, str]) -> str:
    if name.startswith(FEEDBACK_ORIGIN):
        return _FEEDBACK_LICENCE
    return _OWN_LICENCE if name.startswith(OWN_ORIGIN) else licences[name]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns line up in plain text too; cells stay plain text whatever they hold."""
    lines = [[_plain(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def _plain(cell: str) -> str:
    """Keep a cell from ending its column, or from being read as HTML."""
    return cell.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _render(template: str, **content: object) -> str:
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**content, markdown_table=markdown_table)


def _picture(figure: Figure) -> bytes:
    held = io.BytesIO()
    save_plot(figure, held)
    return held.getvalue()


def _result_names(results: Sequence[EvaluationResult]) -> list[str]:
    """Return the names of the JSON files: that of the first result is the split alone, the others name their model."""
    first, *others = results
    slugs = ["-".join(re.findall(r"[\w.]+", other.name)) for other in others]
    return [f"{first.split}.json", *(f"{first.split}.{slug}.json" for slug in slugs)]
