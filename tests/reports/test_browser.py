"""The pages in a real browser: nothing fetched, nothing logged, nothing cut off; hostile names stay text."""

import json
import shutil

import pytest

WIDTHS = [1280, 390]  # a desktop and a phone
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<\N{DIVISION SLASH}script>\"'&amp;"


def visit(browser, path, width: int = 1280) -> None:
    """Open a page from disk at a width, with the logs emptied first."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path.resolve().as_uri())


def requested(browser) -> list[str]:
    """Every address that the page made the browser ask for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]


def assert_quiet(browser, path) -> None:
    addresses = requested(browser)
    assert addresses.count(path.resolve().as_uri()) == 1
    assert [address for address in addresses if not address.startswith(("file://", "data:"))] == [] and sum(a.startswith("file:") for a in addresses) == 1
    assert browser.get_log("browser") == []


LAYOUT = """
const inside = (box, frame) => box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
return {
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  blank: [...document.images].filter((image) => !image.naturalWidth || !image.alt).length,
  images: document.images.length,
  blurred: [...document.images].filter((image) => getComputedStyle(image).imageRendering !== "pixelated").length,
  uneven: [...document.images].filter((image) => image.getBoundingClientRect().width % image.naturalWidth).length,
  charts: document.querySelectorAll(".chart").length,
  cut: [...document.querySelectorAll(".chart svg text")].filter((text) =>
    !inside(text.getBoundingClientRect(), text.closest("svg").getBoundingClientRect())).map((text) => text.textContent),
}
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_a_runs_report_is_whole_crisp_and_quiet(browser, finished, width):
    visit(browser, finished / "report.html", width)
    layout = browser.execute_script(LAYOUT)
    n_images = 16 * 2 + 16 * 3 + 32 * 2 + 12
    assert layout == {"overflow": 0, "blank": 0, "images": n_images, "blurred": 0, "uneven": 0, "charts": 4, "cut": []}
    assert browser.title == "finished"
    assert_quiet(browser, finished / "report.html")


def test_the_curves_stand_where_the_numbers_say(browser, finished):
    """The end of a drawn curve, read off the grid of the rendered picture, is the value in the table."""
    visit(browser, finished / "report.html")
    drawn = browser.execute_script("""
      const svg = [...document.querySelectorAll(".chart svg")].find((svg) => svg.textContent.includes("BCE while settling"));
      const line = svg.querySelector(".line"), end = line.getPointAtLength(line.getTotalLength());
      const grid = [...svg.querySelectorAll(".grid")].map((g) => [Number(g.nextSibling.textContent), g.getBBox().y]);
      const table = [...document.querySelectorAll("table")].find((t) => t.tHead.textContent === "kBCEToD");
      return {y: end.y, grid, value: Number([...table.tBodies[0].rows].at(-1).cells[1].dataset.value)};
    """)
    (low, y_low), (high, y_high) = drawn["grid"][0], drawn["grid"][-1]
    assert drawn["value"] == pytest.approx(low + (drawn["y"] - y_low) / (y_high - y_low) * (high - low), abs=0.005 * (high - low))


def test_hostile_names_and_values_are_text(browser, finished, tmp_path, ncf_report):
    run = shutil.copytree(finished, tmp_path / HOSTILE)
    for name in ("config.yaml", "summary.json"):
        (run / name).write_text((run / name).read_text().replace("gncn_pdh", "'</td><script>alert(3)</script>'" if name == "config.yaml" else "</td>"))
    assert ncf_report(run)[0] == 0
    visit(browser, run / "report.html")
    assert browser.find_element("css selector", "h1").text == HOSTILE and browser.title == HOSTILE
    assert browser.find_element("css selector", ".lead").text == "</td><script>alert(3)</script> on digits"
    found = browser.execute_script("return [document.scripts.length, document.querySelectorAll('img[src=x], td script').length]")
    assert found == [1, 0]
    assert len(browser.get_log("browser")) == 0


def test_no_foreign_script_would_run_even_if_markup_slipped_through(browser, finished, tmp_path):
    page = tmp_path / "page.html"
    page.write_text((finished / "report.html").read_text().replace("<main>", "<main><script>document.title = 'owned'</script>"))
    visit(browser, page)
    assert browser.title == "finished" and "Content Security Policy" in browser.get_log("browser")[0]["message"]


def test_a_report_prints(browser, finished):
    visit(browser, finished / "report.html")
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert len(pdf["data"]) > 50_000
