"""An executed notebook as a page: its charts are there without any network."""

import os

import pytest
from checkout import CHECKOUT
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from waiting import PATIENCE

PICTURES = CHECKOUT / "docs" / "pictures"


@pytest.mark.long
@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("executed", "name", "charts", "shown"),
    [
        ("first_run", "notebook-01", 3, 2),
        ("checked", "notebook-02", 2, 1),
        ("explored", "notebook-03", 5, 3),
        ("lateness", "notebook-04", 4, 1),
        ("kept", "notebook-09", 2, 0),
    ],
)
def test_every_chart_is_drawn_without_a_network(request, browser, tmp_path, executed, name, charts, shown, theme):
    draw(request.getfixturevalue(executed), browser, tmp_path, name, charts, shown, theme)


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("executed", "name", "shown"),
    [
        ("surges", "notebook-05", 1),
        ("bots", "notebook-06", 1),
        ("purchases", "notebook-07", 1),
        ("by_place", "notebook-08", 0),
    ],
)
def test_charts_and_maps_of_made_rows_are_drawn_without_a_network(
    request, browser, tmp_path, executed, name, shown, theme
):
    draw(request.getfixturevalue(executed), browser, tmp_path, name, 4, shown, theme)


def draw(executed, browser, folder, name, charts, shown, theme):
    assert executed.figures == charts
    page_file = folder / f"{name}.html"
    page_file.write_text(HTMLExporter(theme=theme).from_notebook_node(executed.notebook)[0])
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.goto(page_file.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg .cartesianlayer").first).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.locator(".js-plotly-plot .main-svg .cartesianlayer")).to_have_count(charts)
    if os.environ.get("STREAMPROOF_PICTURES") and theme == "light":
        page.locator(".js-plotly-plot").nth(shown).screenshot(path=PICTURES / f"{name}.png")
    context.close()
