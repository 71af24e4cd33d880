"""report.html of a real evaluation, opened by a headless browser."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

import test_dsm
import train_mtl
from evaluation.report import page
from evaluation.report.page import write_report_page
from project.files import write_bytes

NASTY = 'a&"b>$_{$|'  # "<" in a file's name is refused, in a class name it is not
GROUND = "<b>ground $_{$|"

EARLIER = ("metrics.json", "dsm/earlier.tif", "notes.txt")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
OPTIONS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")


def names_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(blocks, tmp_path_factory, at_the_end):
    """Evaluates a network of two steps on four tiles, with names that HTML must escape."""
    root = tmp_path_factory.mktemp("report")
    shutil.copytree(blocks / "blocks", root / "blocks")
    record = root / "blocks" / "dataset.toml"
    text = record.read_text().replace('"ground"', f"'{GROUND}'")
    record.write_text(f"name = '{NASTY}'\n{text}")
    for kind in ("rgb", "dsm", "sem"):
        for old, new in (("train_2", NASTY), ("train_3", "zz")):
            path = root / "blocks" / "train" / kind / f"{old}.tif"
            path.rename(root / "blocks" / "test" / kind / f"{new}.tif")
    run = ["--dataset_name=blocks", f"--shortcut_path={root}", f"--checkpoint_dir={root / 'ck'}"]
    run.append(f"--output_dir={root / 'out'}")
    train_mtl.main([*run, "--backbone=tiny", "--decoder_width=0.02", "--mtl_steps=2"])
    result = root / "out" / "blocks" / "test_mtl"
    for name in EARLIER:
        write_bytes(result / name, b'{"settings": {}}' if name == "metrics.json" else b"")

    def write_page(*evaluated):
        """Writes the page, which comes last, and notes what the folder holds by then."""
        write_report_page(*evaluated)
        at_the_end.update(names_below(result))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_report_page", write_page)
        test_dsm.main([*run, "--figures=1"])
    return result


@pytest.fixture(scope="module")
def at_the_end():
    """Returns the names in the folder of results at the end of the evaluation."""
    return set()


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    """Opens the report in Chromium, or skips where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium or chromedriver is not installed; ./setup.sh --dev installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, Service(driver))
    opened.get((folder / "report.html").as_uri())
    yield opened
    opened.quit()


def order(browser):
    """Returns the names of the tiles as they stand on the page."""
    return browser.execute_script("return [...tiles.children].map(tile => tile.dataset.name)")


def press(browser, key):
    browser.find_element("css selector", f"button[data-sort={key}]").click()
    return order(browser)


def test_page_shows_without_errors_and_asks_for_no_other_file(browser, folder):
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = {one["request"]["url"] for one in asked if one["documentURL"].startswith("file:")}
    own = (folder / "report.html").as_uri()
    assert own in urls and all(url == own or url.startswith("data:") for url in urls)


def test_every_picture_loads_and_says_what_it_shows(browser):
    script = "return [...document.images].map(image => [image.naturalWidth, image.alt])"
    pictures = browser.execute_script(script)
    assert len(pictures) == 2 + 1 + 2 + 4 * 8  # errors, training, legend, tiles
    assert all(width > 0 and alt for width, alt in pictures)


def test_tiles_are_sorted_by_a_click_and_reversed_by_a_second(browser, folder):
    with (folder / "per_tile.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for key in ("mae", "bias", "rmse"):
        descending = [r["tile"] for r in sorted(rows, key=lambda r: -float(r[key]))]  # noqa: B023
        assert press(browser, key) == descending
        assert press(browser, key) == descending[::-1]
    assert press(browser, "name") == [NASTY, "test_0", "test_1", "zz"]
    pressed = browser.find_elements("css selector", "button[aria-pressed=true]")
    assert [button.text for button in pressed] == ["name"]
    assert browser.find_element("id", "sorted").text == "Sorted by name, ascending."


def test_buttons_work_from_the_keyboard(browser):
    button = browser.find_element("css selector", "button[data-sort=name]")
    before = press(browser, "name")
    button.send_keys(" ")
    assert order(browser) == before[::-1]


def test_worst_tile_stands_first_and_is_marked(browser):
    browser.refresh()
    first = browser.find_element("css selector", "#tiles > li")
    assert "worst 1" in first.find_element("css selector", "h3").text
    assert order(browser)[0] == first.get_attribute("data-name")


def test_page_shows_the_run_and_its_training(browser, folder):
    text = browser.find_element("tag name", "body").text
    assert f"{NASTY}, test split: MTL" in text and "trained with seed 0" in text
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['pooled']['rmse']:.3f}" in text
    assert f"true {GROUND}" in text and not browser.find_elements("tag name", "b")
    row = browser.find_element("xpath", "//th[text()='mtl_steps']/..").text
    assert row == "mtl_steps 2 none built-in default"


def test_figures_of_the_split_are_files_too(folder):
    names = {path.name for path in Path(folder).iterdir()}
    assert {"density.png", "errors.png", "report.html"} <= names


def test_an_earlier_evaluation_is_there_until_the_new_one_is_complete(folder, at_the_end):
    assert at_the_end == set(EARLIER)
    names = {path.stem for path in (folder / "dsm").iterdir()}
    assert names == {NASTY, "test_0", "test_1", "zz"}
    assert names_below(folder) >= {"notes.txt", f"figures/{NASTY}.png"}


def test_page_names_no_folder_of_this_machine(folder):
    text = (folder / "report.html").read_text()
    assert str(folder.parents[2]) not in text and "settings.json of MTL" in text
