"""What an evaluation leaves of an earlier one."""

from evaluation.split import remove_earlier

OWN = {"report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png"}
OWN |= {"dsm/a.tif", "sem/a.tif", "figures/a.png"}
OTHERS = {"notes.txt", "map.tif", "dsm/a.qml", "figures/a.tif", "mine/a.tif"}


def test_an_earlier_evaluation_is_removed_and_nothing_else(tmp_path):
    for name in OWN | OTHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_earlier(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == OTHERS


def test_the_first_evaluation_finds_nothing(tmp_path):
    remove_earlier(tmp_path / "absent")
