import io
import zipfile

import pytest
from docx import Document
from fastapi.testclient import TestClient

from service.text_files import MAX_STATEMENTS, TextFileError, read_text_file

ARTICLE = "Суд зібрався в понеділок. Міністр заявив, що сусіди готують обмеження."
PAGE = f"""<!doctype html><html><head><title>News</title><script>alert("x")</script></head><body>
<nav><a href="/">Home</a></nav><article><h1>Суд і міністр</h1><p>{ARTICLE}</p><p>{ARTICLE}</p></article>
<img src="http://203.0.113.7/pixel.png"></body></html>"""


def docx(*paragraphs: str) -> bytes:
    document = Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.add_table(1, 1).cell(0, 0).text = "In a table."
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 70_000_000)
    return file.getvalue()


@pytest.mark.parametrize(
    "raw",
    [ARTICLE.encode(), b"\xef\xbb\xbf" + ARTICLE.encode(), ARTICLE.encode("utf-16"), (ARTICLE * 9).encode("cp1251")],
    ids=["utf-8", "mark", "utf-16", "cp1251"],
)
def test_plain_text_is_read_in_the_encodings_of_newsrooms(raw: bytes) -> None:
    assert read_text_file("a.TXT", raw).text.startswith(ARTICLE)


def test_the_article_of_a_page_is_read_and_the_rest_is_not() -> None:
    text = read_text_file("page.html", PAGE.encode()).text
    assert ARTICLE in text
    assert not {"alert", "Home"} & set(text.split())


def test_a_line_of_a_short_page_is_not_cut_at_its_links() -> None:
    page = (
        '<html><body><nav><a href="/">Home</a></nav><article><h1>Mayor quits</h1><p>Critics say <b>Mayor Smith</b> may '
        'have taken bribes from <a href="/s">Deputy Jones</a>.</p></article></body></html>'
    )
    text = read_text_file("x.html", page.encode()).text
    assert "Critics say Mayor Smith may have taken bribes from Deputy Jones." in text


def test_a_word_document_is_read_with_its_tables() -> None:
    text = read_text_file("a.docx", docx(ARTICLE, "", "Друге речення.")).text
    assert text.split("\n\n") == [ARTICLE, "Друге речення.", "In a table."]


@pytest.mark.parametrize(
    ("table", "statements"),
    [
        ("id,text\n1,One went out.\n2,\n3,Two came in.\n", ("One went out.", "Two came in.")),
        ("Текст;джерело\nОдин вийшов.;а\n", ("Один вийшов.",)),
        ('"One, and\nmore."\nTwo.\n', ("One, and more.", "Two.")),
    ],
)
def test_a_table_gives_its_statements(table: str, statements: tuple[str, ...]) -> None:
    assert read_text_file("rows.csv", table.encode()).statements == statements


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.txt", b"  \n", "empty"),
        ("a.pdf", b"%PDF-1.7", "must end in"),
        ("a.txt", b"%PDF-1.7", "not a text file"),
        ("a.csv", b"PK\x03\x04 something", "not a text file"),
        ("a.docx", b"PK\x03\x04 cut off", "not a Word document"),
        ("a.docx", bomb(), "expands"),
        ("a.html", b"<html><body></body></html>", "no article"),
        ("a.csv", b"name,place\nx,y\n", "column text"),
        ("a.csv", b"text\n\n", "is empty"),
        ("a.csv", b"One went out.\n" * (MAX_STATEMENTS + 1), "/v1/batches"),
    ],
)
def test_a_file_without_text_says_why(name: str, raw: bytes, said: str) -> None:
    with pytest.raises(TextFileError, match=said):
        read_text_file(name, raw)


def test_the_route_answers_with_the_kind_of_file(client: TestClient) -> None:
    article = client.post("/v1/texts?name=a.txt", content=ARTICLE.encode(), headers={"Content-Type": "text/plain"})
    table = client.post("/v1/texts?name=a.csv", content=b"text\nOne went out.\n", headers={"Content-Type": "text/csv"})
    assert article.json() == {"kind": "document", "text": ARTICLE, "statements": []}
    assert table.json() == {"kind": "statements", "text": "", "statements": ["One went out."]}


def test_a_file_that_cannot_be_read_is_a_problem_without_its_content(client: TestClient) -> None:
    answer = client.post("/v1/texts?name=SECRETWORD.csv", content=b"CANARY,x\ny,z\n")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:credence:problem:unreadable-file")
    assert not {"CANARY", "SECRETWORD"} & set(answer.text.replace(".", " ").split())
    assert client.post("/v1/texts", content=b"x").status_code == 422


def test_a_too_large_file_is_refused(client: TestClient) -> None:
    assert client.post("/v1/texts?name=a.txt", content=b"x" * (4 * 1024 * 1024 + 1)).status_code == 413
