"""The pages in a real browser: nothing fetched, nothing logged, nothing cut off; hostile names stay text."""

import json
import shutil
from urllib.parse import unquote, urlsplit

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
    assert [address for address in addresses if not address.startswith(("file://", "data:"))] == [] and sum(
        a.startswith("file:") for a in addresses
    ) == 1
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
    n_images = 16 * 2 + 16 * 3 + 32 * 2 + 12 + 16 * 5
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
        (run / name).write_text(
            (run / name).read_text().replace("gncn_pdh", "'</td><script>alert(3)</script>'" if name == "config.yaml" else "</td>")
        )
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


# --- the comparison -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_is_whole_and_quiet(browser, compared, width):
    visit(browser, compared / "comparison.html", width)
    layout = browser.execute_script(LAYOUT)
    expected = {"overflow": 0, "blank": 0, "images": 10, "blurred": 0, "charts": 2, "cut": []}
    assert {key: layout[key] for key in expected} == expected and (width < 600 or layout["uneven"] == 0)
    assert_quiet(browser, compared / "comparison.html")


def column(browser, table: int, name: str) -> list[str]:
    """What a column of a table shows from top to bottom, hidden rows left out."""
    script = """
      const table = document.querySelectorAll("table")[arguments[0]];
      const i = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(arguments[1]));
      return [...table.tBodies[0].rows].filter((row) => row.getClientRects().length).map((row) => row.cells[i].dataset.value ?? row.cells[i].textContent);
    """
    return browser.execute_script(script, table, name)


def click(browser, table: int, name: str) -> None:
    heads = browser.find_elements("css selector", "table")[table].find_elements("css selector", "th button")
    next(head for head in heads if head.text.startswith(name)).click()


def test_columns_sort_both_ways_by_value_with_the_missing_last(browser, compared):
    visit(browser, compared / "comparison.html")
    click(browser, 1, "status")
    click(browser, 1, "status")
    assert column(browser, 1, "status")[:3] == ["stopped", "failed", "complete"]  # so that one without a value stands near the top
    before = column(browser, 1, "BCE test")
    numbers = sorted(float(value) for value in before if value != "–")
    assert len(before) == 40 and len(numbers) == 39 and [float(v) for v in before if v != "–"] != numbers
    click(browser, 1, "BCE test")
    after = column(browser, 1, "BCE test")
    assert [float(value) for value in after[:39]] == numbers and after[39:] == ["–"]
    click(browser, 1, "BCE test")
    after = column(browser, 1, "BCE test")
    assert [float(value) for value in after[:39]] == numbers[::-1] and after[39:] == ["–"]
    marks = browser.execute_script("return [...document.querySelectorAll('th[aria-sort]')].map((th) => [th.textContent, th.ariaSort])")
    assert marks == [["BCE testnats per image", "descending"]]


def test_small_numbers_sort_as_numbers_and_names_as_names(browser, compared):
    visit(browser, compared / "comparison.html")
    click(browser, 1, "lr")
    assert [float(value) for value in column(browser, 1, "lr")][::8] == [1e-7, 0.001, 0.002, 0.005, 0.01]
    click(browser, 1, "run")
    names = column(browser, 1, "run")
    assert names[0].startswith("model=gncn_pdh,optimizer.lr=0.001,seed=0") and names[-1].endswith("seed=3") and len(set(names)) == 40


def test_the_filter_keeps_what_has_every_word_rows_curves_and_pictures(browser, compared):
    visit(browser, compared / "comparison.html")
    box = browser.find_element("css selector", "input[type=search]")
    curves = lambda: browser.execute_script(
        "return [...document.querySelectorAll('.chart svg g[data-filter]')].filter((g) => getComputedStyle(g).display !== 'none').length"
    )  # noqa: E731
    pictures = lambda: sum(image.is_displayed() for image in browser.find_elements("css selector", "img"))  # noqa: E731
    assert (curves(), pictures(), browser.find_element("css selector", "output").text) == (20, 10, "")
    box.send_keys("GNCN_T1 lr=0.01")
    assert [len(column(browser, table, "model")) for table in (0, 1)] == [1, 4] and (curves(), pictures()) == (2, 1)
    assert browser.find_element("css selector", "output").text == "4 of 40 runs"
    box.send_keys(" failed")
    assert [len(column(browser, table, "model")) for table in (0, 1)] == [1, 1]
    box.send_keys(" nonsense")
    assert [len(column(browser, table, "model")) for table in (0, 1)] == [0, 0] and (curves(), pictures()) == (0, 0)
    box.send_keys("\ue009a\ue000\ue017")  # control and a, then delete
    assert [len(column(browser, table, "model")) for table in (0, 1)] == [10, 40]


def test_a_runs_name_leads_to_its_report(browser, compared):
    visit(browser, compared / "comparison.html")
    browser.find_element("link text", "model=gncn_t1,optimizer.lr=1e-07,seed=2").click()
    assert browser.find_element("css selector", "body").text == "a report"


def test_hostile_names_and_values_are_text_in_a_comparison(browser, finished, tmp_path, ncf_report):
    names = [f"0{HOSTILE}", "javascript:alert(4)#a?b%41"]
    for seed, name in enumerate(names):
        run = shutil.copytree(finished, tmp_path / "all" / name)
        config = (run / "config.yaml").read_text().replace("gncn_pdh", "'</table><script>alert(3)</script>'" if seed else "'<b>'")
        (run / "config.yaml").write_text(config.replace("seed: 0", f"seed: {seed}"))
    assert ncf_report(tmp_path / "all")[0] == 0
    visit(browser, tmp_path / "all" / "comparison.html")
    assert sorted(column(browser, 0, "model")) == ["</table><script>alert(3)</script>", "<b>"]
    assert column(browser, 1, "run") == names[::-1]  # by model: "</table>" comes before "<b>"
    assert browser.execute_script("return [document.scripts.length, document.querySelectorAll('b, img[src=x]').length]") == [1, 0]
    links = [urlsplit(link.get_property("href")) for link in browser.find_elements("css selector", "td a")]
    assert [(link.scheme, unquote(link.path)) for link in links] == [("file", str(tmp_path / "all" / name / "report.html")) for name in names[::-1]]
    assert browser.get_log("browser") == []


# --- what the pages do --------------------------------------------------------------------------------------------------


def test_a_charts_values_show_under_the_pointer(browser, finished):
    visit(browser, finished / "report.html")
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    shown = browser.execute_script("""
      const svg = document.querySelector(".chart svg"), box = svg.getBoundingClientRect(), out = svg.parentElement.querySelector(".readout");
      const at = (share) => {
        svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + share * box.width, clientY: box.top + 50}));
        return out.value;
      };
      const seen = [at(0.16), at(0.97)];
      svg.dispatchEvent(new PointerEvent("pointerleave"));
      return [...seen, out.value];
    """)
    for text, row in zip(shown, (rows[0], rows[-1])):
        assert text == f"epoch {row['epoch']}: train {row['train_bce']:.6g}, validation {row['validation_bce']:.6g}"
    assert shown[2] == ""


def test_a_picture_is_enlarged_on_a_click_by_a_whole_factor(browser, finished):
    visit(browser, finished / "report.html")
    picture = browser.find_element("css selector", ".pictures img")
    small = picture.size["width"]
    picture.click()
    large = browser.find_element("css selector", "dialog[open] img")
    assert large.size["width"] > 2 * small and large.size["width"] % 8 == 0 and large.get_attribute("alt") == "test image 1"
    large.click()
    assert not browser.find_elements("css selector", "dialog[open]")


def test_keys_on_a_phone_break_between_their_words_alone(browser, finished):
    visit(browser, finished / "report.html", 390)
    broken = browser.execute_script("""
      document.querySelectorAll("details").forEach((part) => { part.open = true; });
      const words = [];
      for (const code of document.querySelectorAll("td:first-child code"))
        for (const node of code.childNodes) {
          if (node.nodeType !== Node.TEXT_NODE) continue;
          const range = document.createRange();
          range.selectNode(node);
          if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) words.push(node.data);
        }
      return words;
    """)
    assert broken == []


@pytest.mark.parametrize("scheme, dark", [("dark", True), ("light", False)])
def test_the_page_follows_the_colour_scheme_and_stays_legible(browser, finished, scheme, dark):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    visit(browser, finished / "report.html")
    colours = browser.execute_script("""
      const body = getComputedStyle(document.body), text = getComputedStyle(document.querySelector(".chart text"));
      return [body.backgroundColor, body.color, text.fill];
    """)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    paper, ink, chart = (sum(map(int, colour[4:-1].split(","))) / 3 for colour in colours)
    assert (paper < 64) == dark and abs(paper - ink) > 150 and abs(paper - chart) > 80
