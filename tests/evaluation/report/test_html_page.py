import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np

from evaluation.report.gallery import Card, Picture, html_gallery, jpeg
from evaluation.report.html_page import html_image, html_page, html_table
from evaluation.report.tables import bin_label, confusion_table, headline_tables

NASTY = '<b>&"x"'
JPEG = jpeg(np.zeros((2, 2), "uint8"))


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, tag, name):
        return [found[name] for kind, found in self.tags if kind == tag and name in found]


def card(name, rmse):
    return Card(name, {"rmse": rmse, "mae": rmse, "bias": rmse}, [Picture("Photo", JPEG)])


def test_names_from_the_data_are_text_and_nothing_else():
    table = html_table(NASTY, (NASTY, "value"), [(NASTY, NASTY)])
    gallery = html_gallery([card(NASTY, 1.0)], 1, (NASTY,))
    read = Reader(html_page(NASTY, NASTY, {NASTY: table + gallery}))
    assert "b" not in [tag for tag, _ in read.tags]
    # Title twice, lead, link, section; caption, header, row header, cell; card, class.
    assert read.texts.count(NASTY) == 11
    assert read.attributes("li", "data-name") == [NASTY]
    assert f"Photo; tile {NASTY}" in read.attributes("img", "alt")


def test_tables_say_what_heads_a_column_and_what_a_row():
    read = Reader(html_table("Heights", ("measure", "MTL"), [("RMSE", "1.5")]))
    assert read.attributes("th", "scope") == ["col", "col", "row"]
    assert html_table("Heights", ("measure",), []) == ""


def test_images_hold_their_bytes():
    (source,) = Reader(html_image(JPEG, "a")).attributes("img", "src")
    kind, data = source.split(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(data) == JPEG


def test_page_allows_its_own_script_and_style_alone():
    page = html_page("a", "b", {"Result": "c", "Training": ""})
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    for kind in ("style", "script"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "Training" not in page


def test_worst_and_best_tiles_are_marked():
    cards = [card(name, rmse) for name, rmse in (("a", 3.0), ("b", 2.0), ("c", 1.0), ("d", None))]
    text = "".join(Reader(html_gallery(cards, 9, ())).texts)
    assert "a worst 1" in text and "c best 1" in text and text.count("worst") == 2
    assert "4 of 9 tiles: the worst, the best and evenly spaced ones" in text
    assert "RMSE - m" in text


def test_heights_stand_in_both_conventions():
    run = {"rmse": 2.0, "pooled": {"rmse": 3.0, "median_error": 0.5}, "miou": 0.25}
    read = Reader(headline_tables({"MTL": run | {"intervals": None}, "boosting": {"rmse": 4.0}}))
    texts = [text for text in read.texts if text.strip()]
    header = ["measure", "MTL, mean of tiles", "MTL, pooled"]
    assert texts[1:6] == [*header, "boosting, mean of tiles", "boosting, pooled"]
    assert texts[6:11] == ["RMSE (m)", "2.000", "3.000", "4.000", "-"]
    assert texts[texts.index("mIoU") :][:3] == ["mIoU", "0.250", "-"]
    assert texts[texts.index("median error (m)") + 2] == "0.500"


def test_bins_are_named_by_their_edges():
    edges = [(None, 1.0), (1.0, 5.0), (40.0, None)]
    names = [bin_label({"from": low, "below": high}) for low, high in edges]
    assert names == ["below 1 m", "1 to 5 m", "40 m or more"]


def test_confusion_has_shares_of_the_true_class():
    table = confusion_table({"classes": ["a", "b"], "pixels": [[3, 1], [0, 0]]})
    texts = [text for text in Reader(table).texts if text.strip()]
    assert texts[4:] == ["true a", "3 (75.0%)", "1 (25.0%)", "true b", "0", "0"]
