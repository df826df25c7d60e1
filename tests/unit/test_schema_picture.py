"""docs/schema.svg shows the schema as it is, and nothing in it hides anything else."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from core.storage.schema import metadata
from docs import schema_picture

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture() -> ElementTree.Element:
    """Return the file as it is stored."""
    return ElementTree.fromstring(schema_picture.TARGET.read_text(encoding="utf-8"))  # noqa: S314 - our own file


def test_the_stored_picture_is_the_one_that_the_schema_gives() -> None:
    is_same = schema_picture.TARGET.read_text(encoding="utf-8") == schema_picture.draw()
    assert is_same, "run `python -m docs.pictures schema`"


def test_every_table_is_drawn_once(picture: ElementTree.Element) -> None:
    titles = [
        text.text
        for text in picture.iter(f"{SVG}text")
        if text.get("font-weight") == "bold" and text.get("fill") == "#ffffff"
    ]
    assert sorted(map(str, titles)) == sorted(metadata.tables)


def test_an_arrow_leads_from_every_foreign_key_to_its_table(picture: ElementTree.Element) -> None:
    """Follow the lines by colour: stubs at rows, and one arrowhead at the title of a table."""
    boxes, _, _ = schema_picture.layout()
    stubs, tips = {}, {}
    for path in picture.iter(f"{SVG}path"):
        steps = str(path.get("d"))
        if stub := re.fullmatch(r"M([\d.]+) ([\d.]+)H([\d.]+)", steps):
            stubs[stub[1], stub[2]] = path.get("stroke")
        if tip := re.fullmatch(r"M([\d.]+) ([\d.]+)l-9 -4.5v9z", steps):
            tips[path.get("fill")] = tip[1], tip[2]
    expected = [
        (table.name, column.name, key.column.table.name)
        for table in metadata.tables.values()
        for column in table.columns
        for key in column.foreign_keys
    ]
    drawn = []
    for box in boxes:
        for column in box.rows:
            colour = stubs.get((f"{box.x:.1f}", f"{box.row_y(column):.1f}"))
            if colour is not None:
                end = tips[colour]
                target = next(b for b in boxes if (f"{b.x:.1f}", f"{b.title_y:.1f}") == end)
                drawn.append((box.table.name, column.name, target.table.name))
    assert sorted(drawn) == sorted(expected)


def test_boxes_do_not_overlap_and_lanes_stay_between_them() -> None:
    boxes, gutters, joints = schema_picture.layout()
    for one, other in combinations(boxes, 2):
        is_beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        is_below = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert is_beside or is_below, (one.table.name, other.table.name)
    for gutter in gutters:
        for lane in gutter.lanes.values():
            assert not any(box.x - 8 < lane < box.x + box.width + 8 for box in boxes)
    levels = sorted(joints.values())
    assert all(b - a >= 6 for a, b in pairwise(levels))
    assert max(levels) < min(box.y for box in boxes)


def test_no_text_is_wider_than_its_box() -> None:
    for box in schema_picture.layout()[0]:
        room = (box.width - 2 * schema_picture.PAD) / schema_picture.CHAR
        assert len(box.table.name) <= room + 0.01
        for column in box.rows:
            assert len(f"{column.name} {schema_picture.tag_of(column)}") <= room + 1.01


def test_the_columns_that_operators_know_are_columns() -> None:
    for table, columns in schema_picture.LEGACY_COLUMNS.items():
        assert set(columns) <= set(metadata.tables[table].columns.keys())
