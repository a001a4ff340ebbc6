"""The report says what a result holds, in Markdown and on one page, and texts only where they are asked for."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import training.metrics
from credence.labels import DISCLAIMER, OUTCOMES
from training.corpora import Example
from training.evaluation import Predictions, evaluate_predictions
from training.metrics import Interval
from training.report import markdown_summary, markdown_table, write_report
from training.results import EvaluationResult, read_result
from training.suites import SuiteResult

N = 48
SUITES = (
    SuiteResult("debunks", "debunks called disinformation", 9, Interval(0.05, 0, 0.1), "lower", 0.08, 0.03, ("d1",)),
    SuiteResult("typos", "the same outcome", 9, Interval(0.5, 0.4, 0.6), "higher", None, None, ()),
)
PLOTS = ("confusion", "reliability", "reliability_by_language", "risk_coverage", "by_language")


class PageReader(HTMLParser):
    """Collects ids, links, pictures and headings of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"id": [], "href": [], "src": []}
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.found.get(name, []).append(value or "")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [
        Example(
            f"s{n}",
            f"<b>Secret</b> line | {n}.",
            ("en", "uk", "ru")[n % 3],
            OUTCOMES[n % 4],
            6,
            3,
            "dev",
            f"c{n}",
            "gold/x",
            "2022-03-01",
        )
        for n in range(N)
    ]


@pytest.fixture(scope="module")
def results(examples: list[Example]) -> list[EvaluationResult]:
    generator = np.random.default_rng(0)
    sets = tuple(OUTCOMES[: 1 + n % 3] for n in range(N))
    model = Predictions("bundle 1.0 (abc)", generator.dirichlet([1] * 4, N), (True,) * N, sets)
    other = Predictions("majority", np.tile([0.4, 0.3, 0.2, 0.1], (N, 1)), (True,) * N)
    digests = {"gold/dev.jsonl": "a" * 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.metrics, "RESAMPLES", 20)
        return [
            evaluate_predictions(model, examples, digests=digests, suites=SUITES, others=[other]),
            evaluate_predictions(other, examples, digests=digests, others=[model]),
        ]


@pytest.fixture(scope="module")
def folder(results: list[EvaluationResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "report"
    write_report(results, folder, command="python -m training.evaluate --split dev")
    return folder


def test_a_folder_holds_the_report_its_plots_and_each_result(folder: Path, results: list[EvaluationResult]) -> None:
    plots = {f"dev.{name}.png" for name in PLOTS}
    assert {path.name for path in folder.iterdir()} == {"dev.md", "dev.html", "dev.json", "dev.majority.json", *plots}
    assert [read_result(folder / name) for name in ("dev.json", "dev.majority.json")] == results
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in plots)


def test_the_disclaimer_stands_before_the_first_figure(folder: Path, results: list[EvaluationResult]) -> None:
    for text in ((folder / "dev.md").read_text(), (folder / "dev.html").read_text(), markdown_summary(results)):
        assert 0 <= text.index(DISCLAIMER) < text.index("macro_f1")


def test_both_forms_hold_every_figure_and_the_command(folder: Path, results: list[EvaluationResult]) -> None:
    main = results[0]
    parts = (main.by_language, main.by_source, main.by_outcome, main.by_length, main.by_month, main.compared_with)
    figures = [main.metrics, *(figures for part in parts for figures in part.values())]
    for text in ((folder / "dev.md").read_text(), (folder / "dev.html").read_text()):
        assert all(str(interval) in text for each in figures for interval in each.values())
        assert all(str(suite.rate) in text for suite in SUITES)
        assert "python -m training.evaluate --split dev" in text
        assert main.statements_digest in text
        assert main.date in text


def test_the_page_needs_no_other_file_and_no_script(folder: Path) -> None:
    page = PageReader((folder / "dev.html").read_text())
    assert len(page.found["src"]) == len(PLOTS)
    assert all(source.startswith("data:image/png;base64,") for source in page.found["src"])
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_the_contents_lead_to_every_section(folder: Path) -> None:
    page = PageReader((folder / "dev.html").read_text())
    assert page.found["href"] == [f"#{anchor}" for anchor in page.found["id"]]
    assert page.tags.count("h2") == len(page.found["id"]) == 11


def test_pictures_of_the_markdown_lie_beside_it(folder: Path) -> None:
    text = (folder / "dev.md").read_text()
    assert all(f"](dev.{name}.png)" in text for name in PLOTS)


def test_no_text_is_written_unless_asked_for(folder: Path) -> None:
    written = [path.read_text() for path in folder.iterdir() if path.suffix != ".png"]
    assert not [text for text in written if "Secret" in text]


def test_texts_that_are_asked_for_stand_as_plain_text(
    results: list[EvaluationResult], examples: list[Example], tmp_path: Path
) -> None:
    write_report(results, tmp_path, texts={e.id: e.text for e in examples})
    worst = results[0].worst_errors[0].id.removeprefix("s")
    assert f"&lt;b&gt;Secret&lt;/b&gt; line | {worst}." in (tmp_path / "dev.html").read_text()
    assert f"&lt;b>Secret&lt;/b> line \\| {worst}." in (tmp_path / "dev.md").read_text()
    assert "Secret" not in (tmp_path / "dev.json").read_text()


def test_the_summary_says_which_bounds_are_reached(results: list[EvaluationResult], tmp_path: Path) -> None:
    reaching = {"macro_f1": Interval(0.86, 0.8, 0.9), "mean_set_size": Interval(1.5, 1.4, 1.6)}
    main = results[0].model_copy(update={"metrics": {**results[0].metrics, **reaching}})
    write_report([main], tmp_path)
    rows = [line.split("|") for line in (tmp_path / "dev.md").read_text().splitlines() if line.startswith("|")]
    reached = {row[1].strip(): row[5].strip() for row in rows if len(row) == 7}
    assert reached["macro_f1"] == "goal"
    assert reached["mean_set_size"] == "must"
    assert reached["f1_likely_disinformation_narrative"] == "not yet"
    assert reached["accuracy"] == ""


def test_a_report_on_one_baseline_has_no_comparisons_and_no_suites(
    results: list[EvaluationResult], tmp_path: Path
) -> None:
    alone = results[1].model_copy(update={"compared_with": {}, "mcnemar": {}})
    write_report([alone], tmp_path)
    text = (tmp_path / "dev.md").read_text()
    assert "## Comparisons" not in text
    assert "## Behavioural suites" not in text
    assert "gives no prediction sets" in text


def test_table_columns_line_up_in_plain_text() -> None:
    lines = markdown_table(["a", "long name"], [["1", "2"], ["three", "4"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1
