"""The pages in a real browser. Runs where Chromium and its driver are installed, and is skipped elsewhere."""

import shutil
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="chromium or its driver is not installed")
PATIENCE_SECONDS = 30
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
)  # fmt: skip
ARTICLE = (
    "\u2014 The court met on Monday. The mayor claims that it rained!\n\nВони таємно керують усім світом. Хто знає?"
)
HOSTILE = 'The <img src=x onerror="document.title=1"> court met. <script>document.title=2</script> He claims so.'


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def address(settings: Settings, served_model: ServedModel, database: Database) -> Iterator[str]:
    """Yield the address of a real server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings, served_model, database), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


class Page:
    """A page as a person uses it."""

    def __init__(self, browser: Chrome, address: str, path: str = "/?lang=en", width: int = 1280) -> None:
        self.browser = browser
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get_log("browser")
        browser.get(address + path)

    def all(self, selector: str) -> list[WebElement]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def one(self, selector: str) -> WebElement:
        def find(_: object) -> WebElement | None:
            return next((found for found in self.all(selector) if found.is_displayed()), None)

        shown = WebDriverWait(self.browser, PATIENCE_SECONDS).until(find, f"nothing shown fits {selector}")
        assert isinstance(shown, WebElement)
        return shown

    def wait_for_text(self, selector: str, text: str) -> None:
        wait = WebDriverWait(self.browser, PATIENCE_SECONDS)
        wait.until(lambda _: text in self.one(selector).text, f"{selector} never says {text}")

    def score(self, text: str, kind: str = "document") -> list[WebElement]:
        self.one(f"input[name=kind][value={kind}]").click()
        self.browser.execute_script("arguments[0].value = arguments[1]", self.one("#text"), text)
        self.one("#score").click()
        self.wait_for_text("#status", "Lines scored")
        return self.all(".line")

    def has_no_room_beside(self) -> bool:
        return bool(self.browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(browser: Chrome, address: str) -> Page:
    return Page(browser, address)


def labels(lines: list[WebElement]) -> list[str | None]:
    return [line.get_attribute("data-label") for line in lines]


def test_an_article_is_marked_in_place_and_nothing_of_it_is_lost(page: Page) -> None:
    lines = page.score(ARTICLE)
    assert labels(lines)[-3:] == ["allegation", "likely_disinformation_narrative", "none"]
    shown = page.browser.execute_script(
        "const copy = document.getElementById('text-view').cloneNode(true);"
        "copy.querySelectorAll('.tag').forEach(tag => tag.remove()); return copy.textContent"
    )
    assert shown == ARTICLE
    assert not page.complaints()


def test_a_line_is_opened_by_keyboard_and_says_what_its_label_does_not_mean(page: Page) -> None:
    lines = page.score(ARTICLE)
    lines[0].send_keys(Keys.ARROW_DOWN)
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    detail = page.one("#detail")
    assert "Line 2 of" in detail.text
    assert "It does not mean that it is false" in detail.text
    assert "A label says how a line is put, never whether it is true." in detail.text
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not detail.is_displayed()


def test_a_label_can_be_disputed_and_the_link_shows_it_to_the_next_reader(page: Page, address: str) -> None:
    page.score(ARTICLE)[1].click()
    Select(page.one("#detail select")).select_by_value("factual_report")
    page.one("#detail form button").click()
    page.wait_for_text("#detail [role=status]", "disputed from now on")
    page.browser.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.one("#copy-link").click()
    page.wait_for_text("#status", "Copied")
    again = Page(page.browser, "", page.browser.execute_script("return window.copied"))
    again.wait_for_text("#filters", "Disputed 1")
    assert len(again.all(".line")) == len(again.all("#table-view tbody tr"))


def test_a_filter_and_an_order_choose_the_rows_of_the_table(page: Page) -> None:
    page.score(ARTICLE)
    page.one("[data-filter=allegation]").click()
    assert len(page.all(".line:not(.is-dimmed)")) == 1
    page.one("[data-filter=all]").click()
    page.one("#view-table").click()
    Select(page.one("#sort")).select_by_value("label")
    assert page.one("#table-view tbody tr .label-cell").text.startswith("■")


def test_hostile_text_stays_text(page: Page) -> None:
    page.score(HOSTILE)
    assert "onerror" in page.one("#text-view").text
    assert page.browser.title.startswith("How is each line put?")
    assert not page.all("#text-view img, #text-view script")


def test_five_hundred_statements_are_scored_in_portions_and_listed(page: Page) -> None:
    rows = [f"The court met on day {number}." for number in range(500)]
    page.score("\n".join(rows), "statements")
    assert page.one(".tally strong").text == "500"
    page.one("#view-table").click()
    assert len(page.all("#table-view tbody tr")) == 500


def test_what_is_not_to_be_kept_has_no_link_and_cannot_be_disputed(page: Page) -> None:
    page.one("#store").click()
    page.score(ARTICLE)[0].click()
    assert "Only kept lines can be disputed" in page.one("#detail").text
    assert not page.all("#copy-link:not([hidden])")


def test_an_older_result_never_stands_under_another_text(page: Page) -> None:
    page.score(ARTICLE)
    page.one("#text").send_keys(" More.")
    assert page.one("#stale").is_displayed()
    page.browser.execute_script("arguments[0].value = arguments[1]", page.one("#text"), "null \\u0000 byte")
    page.browser.execute_script("window.fetch = async () => { throw new TypeError('gone'); }")
    page.one("#score").click()
    page.wait_for_text("#problem", "cannot be reached")
    assert not page.all("#result:not([hidden])")


def test_the_text_survives_a_change_of_language_and_a_kept_one_a_reload(page: Page) -> None:
    page.score(ARTICLE)
    page.browser.refresh()
    page.wait_for_text("#status", "Lines scored")
    page.one("#store").click()
    page.browser.execute_script("arguments[0].value = arguments[1]", page.one("#text"), HOSTILE)
    page.one("[data-language=uk]").click()
    page.wait_for_text("h1", "Як подано кожен рядок?")
    assert page.one("#text").get_attribute("value") == HOSTILE


def test_nothing_to_score_is_said_and_the_field_has_the_focus(page: Page) -> None:
    page.one("#score").click()
    page.wait_for_text("#problem", "nothing to score")
    assert page.browser.switch_to.active_element.get_attribute("id") == "text"


@pytest.mark.parametrize("path", ["/?lang=uk", "/dashboard?lang=uk"])
def test_a_page_fits_a_phone(browser: Chrome, address: str, path: str) -> None:
    Page(browser, address).score(ARTICLE)
    page = Page(browser, address, path, width=360)
    if path.startswith("/?"):
        page.one("#example").click()
        page.one(".line")
    else:
        page.one("#cards li")
    assert page.has_no_room_beside()
    assert not page.complaints()


def test_an_empty_dashboard_says_so(browser: Chrome, address: str) -> None:
    page = Page(browser, address, "/dashboard?lang=en")
    page.wait_for_text("#empty", "Nothing was kept in this time")
    assert not page.complaints()


def test_a_dashboard_counts_what_was_scored(browser: Chrome, address: str) -> None:
    n_lines = len(Page(browser, address).score(ARTICLE))
    page = Page(browser, address, "/dashboard?lang=en")
    page.wait_for_text("#cards", "lines scored")
    assert page.one("#cards strong").text == str(n_lines)
    assert len(page.all("#newest p:not(.meta)")) == 1
    assert not page.complaints()


def test_the_language_of_the_interface_changes_and_the_theme_stays(browser: Chrome, address: str) -> None:
    page = Page(browser, address)
    for _ in range(2):
        page.one("#theme-toggle").click()
    page.one("[data-language=uk]").click()
    page.wait_for_text("h1", "Як подано кожен рядок?")
    assert page.one("html").get_attribute("data-theme") == "dark"
