"""Ranks that move and a map, in a real browser, over a made-up run: no server is needed."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_up_run import made_up_page
from pictures import picture
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    with made_up_page(tmp_path_factory.mktemp("made-up")) as served:
        yield served


def bar(page, name):
    return page.locator(".bars li", has_text=name)


def slide_back(page, windows):
    slider = page.get_by_label("window")
    slider.focus()
    for _ in range(windows):
        page.keyboard.press("ArrowLeft")


_COUNT_MOVES = """() => {
    const animate = Element.prototype.animate;
    window.moves = 0;
    Element.prototype.animate = function (...how) { window.moves += 1; return animate.apply(this, how); };
}"""


def moves(page):
    """How often something was set in motion since they are counted."""
    return page.evaluate("window.moves")


def is_accessible(page):
    page.wait_for_function("document.getAnimations().length === 0")  # what appears is faint at first
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()


@pytest.mark.long
def test_the_newest_window_is_on_the_map_and_each_mark_bears_its_verdict(tab, made_up):
    run, address = made_up
    page, asked = tab.open(address), []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.locator(".bars li")).to_have_count(12)
    expect(page.locator(".window-verdict").first).to_have_text("✓ RIGHT: all 16 answers of this window")
    expect(page.locator(".map .mark.good circle")).to_have_count(12)
    places = page.locator(".bars .place").all_inner_texts()
    assert places == [str(place) for place in range(1, 13)]

    expect(page.locator("#alerts h3")).to_have_text(re.compile(r"Alerts: 3 firing, \d+ past"))
    expect(page.locator("#alerts tbody tr").first).to_contain_text("firing")

    page.evaluate(_COUNT_MOVES)
    slide_back(page, 1)
    assert moves(page) > 0
    expect(page.locator(".when")).to_have_text("window to 1970-01-01 00:04:00 UTC")
    expect(page.locator(".window-verdict").first).to_have_text("✕ NOT RIGHT: 15 right, 1 wrong")
    expect(bar(page, "Lagos").locator(".sign")).to_have_text("✕ wrong")
    expect(page.locator(".map .mark.bad rect")).to_have_count(1)
    expect(page.locator(".map .mark.bad")).to_have_attribute("aria-label", re.compile(r"Lagos: [\d,.]+, wrong"))
    assert all(url.startswith(address) for url in asked)

    bar(page, "Lagos").locator("a").press("Enter")
    behind = page.locator("#rows-behind")
    expect(behind.locator(".window-verdict")).to_have_text("✕ This answer: wrong")
    expect(behind.locator(".rows rect")).to_have_count(60)
    expect(behind).to_contain_text("rows with city = Lagos in the last 1min")
    assert lagos_in_the_files(run) == int(behind.locator("figcaption").inner_text().split()[0])
    expect(page.locator('[aria-current="true"][data-key]')).to_have_count(2)
    in_all = page.locator("#batch [data-question=in_all]")
    expect(in_all).to_contain_text("All 16 answers: streamproof batch in_all --run made-up")
    expect(in_all.locator("tbody tr")).to_have_count(16)
    expect(page.locator("#newest-window thead th").nth(-1)).to_have_text("difference")
    is_accessible(page)
    picture(page.locator("#question-section"), "dashboard-map")


def lagos_in_the_files(run):
    """Rows of the minute up to 4:00, by their lines: one each 100 ms."""
    lines = run.run.sources["World"].file.read_text().splitlines()[1:][1800:2400]
    return sum(line.startswith("Lagos,") for line in lines)


@pytest.mark.long
def test_an_answer_that_arrives_is_followed_and_judged_later(tab, made_up):
    run, address = made_up
    page = tab.open(address, width=360, height=800, scheme="dark", motion="reduce")
    expect(page.locator(".when")).to_have_text("window to 1970-01-01 00:04:30 UTC")
    page.evaluate(_COUNT_MOVES)
    run.write(9, 10)
    expect(page.locator(".when")).to_have_text("window to 1970-01-01 00:05:00 UTC")
    expect(page.locator(".window-verdict").first).to_have_text("… not judged yet")
    expect(page.locator(".map .mark.open")).to_have_count(12)
    run.judge()
    expect(page.locator(".window-verdict").first).to_have_text("✓ RIGHT: all 16 answers of this window")

    page.locator(".bars a").first.press("Space")
    expect(page.locator(".play")).to_have_text("▶ Play")
    slide_back(page, 2)
    page.get_by_role("button", name="Play").press("Enter")
    expect(page.locator(".when")).to_have_text("window to 1970-01-01 00:05:00 UTC")
    assert moves(page) == 0

    mark = page.locator(".map a.mark").first
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rows-behind .rows rect")).to_have_count(60)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    is_accessible(page)
    picture(page.locator("#drawn-ranks"), "dashboard-map-phone")


def test_a_report_holds_the_same_in_one_file(tab, made_up, tmp_path):
    run, _ = made_up
    run.write_report(tmp_path / "report.html")
    page = tab.open(f"file://{tmp_path}/report.html")
    expect(page.locator(".map .mark")).to_have_count(12)
    expect(page.locator(".window-verdict").first).to_have_text("✓ RIGHT: all 16 answers of this window")
    page.locator(".bars a").first.press("Enter")
    expect(page.locator(".rows rect")).to_have_count(60)
    page.get_by_role("button", name="Play").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".when")).not_to_have_text("window to 1970-01-01 00:04:30 UTC")
    page.get_by_label("window").press("End")
    slide_back(page, 1)
    expect(page.locator(".window-verdict").first).to_have_text("✕ NOT RIGHT: 15 right, 1 wrong")
    expect(page.locator("caption", has_text="The last whole window")).to_be_visible()
    expect(page.get_by_role("columnheader", name="difference")).to_be_visible()
    expect(page.locator("caption", has_text="in_all, of the whole run")).to_have_text(
        "in_all, of the whole run: All 16 answers"
    )
    is_accessible(page)
    picture(page.locator("#ranks-sales_by_city"), "report-map")
