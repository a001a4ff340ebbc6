import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER, OUTCOMES, Reason
from service.routes.page import LANGUAGES, read_texts
from service.signs import SIGNS

PAGE_FOLDER = Path(__file__).parents[2] / "service" / "page"
CODES = [code for code, *_ in LANGUAGES]
PAGES = ["/", "/dashboard"]


class Reader(HTMLParser):
    """Collects the tags, and the ids that are given and referred to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name))]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("code", CODES)
def test_a_page_is_there_in_each_language_with_the_disclaimer(client: TestClient, path: str, code: str) -> None:
    answer = client.get(f"{path}?lang={code}")
    assert answer.headers["content-type"].startswith("text/html")
    assert f'<html lang="{code}"' in answer.text
    assert read_texts(code)["disclaimer"] in answer.text
    assert "{{" not in answer.text
    assert "built-in method" not in answer.text


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("uk-UA,uk;q=0.9,en;q=0.5", "uk"),
        ("de,fr;q=0.8", "en"),
        ("en;q=0.2, uk;q=0.7", "uk"),
        ("uk;q=x", "en"),
        ("", "en"),
    ],
)
def test_the_browser_chooses_the_language(client: TestClient, header: str, code: str) -> None:
    assert f'<html lang="{code}"' in client.get("/", headers={"Accept-Language": header}).text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_nothing_inline(client: TestClient, path: str) -> None:
    answer = client.get(path)
    reader = Reader(answer.text)
    assert all(value.startswith(("/", "#", "?")) for name in ("src", "href") for value in reader.values(name))
    assert not reader.values("style")
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    inline = [a for tag, a in reader.tags if tag == "script" and "src" not in a and a.get("type") != "application/json"]
    assert not inline
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PAGES)
def test_every_asset_of_a_page_is_there(client: TestClient, path: str) -> None:
    assets = {v for name in ("src", "href") for v in Reader(client.get(path).text).values(name) if "/assets/" in v}
    assert assets
    assert {client.get(asset.partition("#")[0]).status_code for asset in assets} == {200}


@pytest.mark.parametrize("path", PAGES)
def test_every_label_and_reference_of_a_page_has_its_target(client: TestClient, path: str) -> None:
    reader = Reader(client.get(path).text)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    named = [v for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls") for v in reader.values(name)]
    assert set(named) <= set(ids)


@pytest.mark.parametrize("script", sorted(PAGE_FOLDER.glob("assets/*.js")), ids=lambda path: path.name)
def test_a_script_imports_what_is_there_and_finds_what_it_asks_for(client: TestClient, script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    for module, names in re.findall(r'import \{ ([^}]+) \} from "(/assets/\w+\.js)"', source):
        imported = client.get(names).text
        assert all(
            re.search(rf"export (?:async )?(?:function|const|class) {n.strip()}\b", imported) for n in module.split(",")
        )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", source)


def test_every_text_that_a_script_names_is_written_in_every_language() -> None:
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in PAGE_FOLDER.glob("assets/*.js"))
    templates = "\n".join(path.read_text(encoding="utf-8") for path in PAGE_FOLDER.glob("*.j2"))
    named = set(re.findall(r'\bt\("(\w+)"', scripts)) | set(re.findall(r"\bt\.(\w+)", templates))
    named |= {f"reason_{reason}" for reason in Reason} | {f"reason_short_{reason}" for reason in Reason}
    named |= {f"label_{outcome}" for outcome in OUTCOMES}
    for code in CODES:
        assert named <= read_texts(code).keys(), code


def test_the_languages_say_the_same_things_with_the_same_gaps() -> None:
    texts = {code: read_texts(code) for code in CODES}
    gaps = {code: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in texts[code].items()} for code in CODES}
    assert gaps["en"] == gaps["uk"]
    assert all(text.strip() for code in CODES for text in texts[code].values())


def test_english_words_of_the_core_stand_in_the_core_alone() -> None:
    written = json.loads((PAGE_FOLDER / "texts" / "en.json").read_text(encoding="utf-8"))
    assert DISCLAIMER not in written.values()


def test_every_label_has_a_sign() -> None:
    assert set(SIGNS) == set(OUTCOMES)
    assert len(set(SIGNS.values())) == len(OUTCOMES)
