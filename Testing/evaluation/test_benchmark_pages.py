"""A benchmark writes its tables into a page and changes nothing else of it."""

import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.pages import places_in, write_into

PAGE = """# Ergebnisse ä

<!-- begin none clicks -->
old | table
<!-- end none clicks -->
between
<!-- begin box robot 3 --><!-- end box robot 3 -->
"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "results.md").write_text(PAGE, encoding="utf-8")
    return tmp_path / "results.md"


def test_tables_take_the_places_that_bear_their_names(page):
    names = ("none clicks", "none strokes", "box robot 3")
    assert places_in(page, names) == ["none clicks", "box robot 3"]
    write_into(page, {name: rf"| {name} \1 |" for name in names})
    once = page.read_text(encoding="utf-8")
    assert once == PAGE.replace("old | table", r"| none clicks \1 |").replace(
        "3 --><!--", "3 -->\n| box robot 3 \\1 |\n<!--"
    )
    write_into(page, {"none clicks": r"| none clicks \1 |"})
    assert page.read_text(encoding="utf-8") == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no marks", "has no place for a table of this run; write into it one of <!-- begin none clicks --> <!-- end"),
        ("<!-- begin none clicks -->", "must hold <!-- begin none clicks --> once and <!-- end none clicks --> once"),
        ("<!-- end none clicks --><!-- begin none clicks -->", "once after it"),
        (2 * "<!-- begin none clicks --><!-- end none clicks -->", "once after it"),
    ],
)
def test_a_page_with_no_place_or_a_broken_one_is_refused_and_kept(page, text, message):
    page.write_text(text)
    with pytest.raises(InputError, match=message):
        write_into(page, {"none clicks": "|"})
    assert page.read_text() == text


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_page_that_cannot_be_read_is_refused(page, content):
    page.unlink() if content is None else page.write_bytes(content)
    with pytest.raises(InputError, match=r"the page .*results.md cannot be read: "):
        places_in(page, ("none clicks",))
