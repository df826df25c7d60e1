"""Draws docs/schema.svg from the metadata: tables by room, their key columns, and foreign keys.

Each room is a column of boxes with a gutter to its left. In a gutter every table that is referred to
has a lane of its own, in its own colour; lanes of one table in several gutters are joined above the
boxes. Lines meet boxes at their left edge only, so that no line crosses a box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import cycle
from pathlib import Path

import sqlalchemy as sa

from core.storage.schema import catalogue, devices, metadata, results, sessions

TARGET = Path(__file__).parent / "schema.svg"

ROOMS = {
    "Catalogue": catalogue,
    "Sessions": sessions,
    "Devices and sync": devices,
    "Results": results,
}
"""Title of a room and its module, from the left."""

NOTES = (
    "Bold: primary key. A line leads from",
    "a foreign key to the table that has",
    "the line's colour. Beside keys stand",
    "the columns that operators' statements",
    "name; docs/database.md has the rest.",
)
"""Said in the corner that the rooms leave free."""

LEGACY_COLUMNS = {
    "OptimizationSession": ("SessionId", "CreatedDate", "IsActive", "IsDeleted"),
    "OptimizationInstance": (
        "RunStatusId", "OptimizationInstanceStatusId", "PortalType", "IntegrationId",
        "RunStartTime", "RunEndTime", "TotalCost",
    ),
    "OptimizationCommGroup_RatePlan": ("MaxAvgUsage",),
    "OptimizationQueue": (
        "UsesProration", "RunStatusId", "RunStartTime", "RunEndTime", "TotalCost",
    ),
    "OptimizationQueue_RatePlan": ("CommGroup_RatePlanId",),
    "OptimizationSimCard": ("ICCID", "CycleDataUsageMB"),
    "BillingPeriod": ("BillingPeriodStart", "BillingPeriodEnd"),
    "CommunicationPlan": ("RatePlanIds",),
}  # fmt: skip
"""Columns that operators know from their statements, beside keys."""

COLOURS = (
    "#b5483a", "#1f6fb2", "#2e8b57", "#8e5bb5", "#b8860b", "#c2407f",
    "#157a7a", "#6b7a1e", "#5a62c4", "#a0522d", "#3d8bc9", "#75507b",
)  # fmt: skip
PLAIN, INK = "#5f6b76", "#24292f"
FONT, CHAR, ROW, TITLE, PAD, LANE, GAP, MARGIN, HEAD = 12, 7.23, 16, 21, 8, 9, 16, 12, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A table as drawn; lengths in pixels."""

    table: sa.Table
    x: float
    y: float
    width: float

    @property
    def rows(self) -> list[sa.Column[object]]:
        """Columns that are drawn."""
        return shown_columns(self.table)

    @property
    def height(self) -> float:
        """Title and rows."""
        return TITLE + ROW * len(self.rows) + 4

    @property
    def title_y(self) -> float:
        """Where arrows end."""
        return self.y + TITLE / 2

    def row_y(self, column: sa.Column[object]) -> float:
        """Middle of a column's row."""
        return self.y + TITLE + ROW * (self.rows.index(column) + 0.5) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gutter:
    """Lanes to the left of a room: x of each table that is referred to."""

    lanes: dict[str, float]


def shown_columns(table: sa.Table) -> list[sa.Column[object]]:
    """Primary key, foreign keys, and the columns that operators know, in the table's order."""
    known = LEGACY_COLUMNS.get(table.name, ())
    return [c for c in table.columns if c.primary_key or c.foreign_keys or c.name in known]


def foreign_keys() -> list[tuple[str, str, str]]:
    """Table, column and the table that it refers to, of every arrow."""
    return [
        (table.name, column.name, key.column.table.name)
        for table in metadata.tables.values()
        for column in shown_columns(table)
        for key in column.foreign_keys
    ]


def rooms() -> list[list[sa.Table]]:
    """Tables of each room, in the order of the source."""
    return [
        [member for member in vars(module).values() if isinstance(member, sa.Table)]
        for module in ROOMS.values()
    ]


def layout() -> tuple[list[Box], list[Gutter], dict[str, float]]:
    """Place the boxes, the lanes, and the joints above the boxes."""
    targets = referred_tables(foreign_keys())
    used = []
    for room in rooms():
        inside = {table.name for table in room}
        referred = referred_tables([key for key in foreign_keys() if key[0] in inside])
        used.append([target for target in targets if target in inside or target in referred])
    joined = [t for t in targets if sum(t in lanes for lanes in used) > 1]
    joints: dict[str, float] = {target: HEAD + 8 + LANE * k for k, target in enumerate(joined)}
    top = HEAD + 8 + LANE * len(joined) + GAP
    boxes: list[Box] = []
    gutters: list[Gutter] = []
    x: float = MARGIN
    for room, lanes in zip(rooms(), used, strict=True):
        gutters.append(Gutter(lanes={t: x + LANE * k for k, t in enumerate(lanes)}))
        x += LANE * len(lanes) + GAP
        width = max(width_of(table) for table in room)
        y: float = top
        for table in room:
            boxes.append(Box(table=table, x=x, y=y, width=width))
            y += boxes[-1].height + GAP
        x += width + GAP
    return boxes, gutters, joints


def referred_tables(keys: list[tuple[str, str, str]]) -> list[str]:
    """Tables that foreign keys refer to, each once."""
    return list(dict.fromkeys(target for _, _, target in keys))


def width_of(table: sa.Table) -> float:
    """Width that the longest text of a table needs."""
    texts = [len(table.name), *(len(c.name) + 1 + len(tag_of(c)) for c in shown_columns(table))]
    return max(texts) * CHAR + 2 * PAD


def tag_of(column: sa.Column[object]) -> str:
    """Say whether a column is a key, and of which kind."""
    return " ".join(["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys))


def draw() -> str:
    """Return the picture as SVG."""
    boxes, gutters, joints = layout()
    width = max(box.x + box.width for box in boxes) + MARGIN
    height = max(box.y + box.height for box in boxes) + MARGIN
    colour = dict(zip(referred_tables(foreign_keys()), cycle(COLOURS), strict=False))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="{FONT}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">'
    )
    parts = [
        opening,
        "<title>Tables of carrier-opt, with their keys</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *_lines(boxes, gutters, joints, colour),
        *_headings(boxes),
        *(part for box in boxes for part in _box(box, colour.get(box.table.name, PLAIN))),
        *_notes(boxes, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _headings(boxes: list[Box]) -> Iterator[str]:
    for title, x in zip(ROOMS, dict.fromkeys(box.x for box in boxes), strict=True):
        yield (
            f'<text x="{x:.1f}" y="{HEAD - 8}" font-size="16" font-weight="bold" '
            f'font-family="sans-serif" fill="{INK}">{title}</text>'
        )


def _notes(boxes: list[Box], height: float) -> Iterator[str]:
    for k, line in enumerate(NOTES):
        yield _text(boxes[0].x, height - MARGIN - ROW * (len(NOTES) - k), line, f'fill="{INK}"')


def _box(box: Box, colour: str) -> Iterator[str]:
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="3" fill="#ffffff" stroke="{colour}"/>'
    )
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{TITLE}" '
        f'rx="3" fill="{colour}"/>'
    )
    yield _text(box.x + PAD, box.title_y, box.table.name, 'fill="#ffffff" font-weight="bold"')
    for column in box.rows:
        y = box.row_y(column)
        weight = ' font-weight="bold"' if column.primary_key else ""
        yield _text(box.x + PAD, y, column.name, f'fill="{INK}"{weight}')
        if tag := tag_of(column):
            end = box.x + box.width - PAD
            yield _text(end, y, tag, f'fill="{PLAIN}" text-anchor="end"')


def _text(x: float, y: float, text: str, how: str) -> str:
    return f'<text x="{x:.1f}" y="{y + 4.3:.1f}" {how}>{escape(text)}</text>'


def _lines(
    boxes: list[Box], gutters: list[Gutter], joints: dict[str, float], colour: dict[str, str]
) -> Iterator[str]:
    for target, joint_y in joints.items():
        ends = [gutter.lanes[target] for gutter in gutters if target in gutter.lanes]
        yield _path(colour[target], f"M{min(ends):.1f} {joint_y}H{max(ends):.1f}")
    columns = list(dict.fromkeys(box.x for box in boxes))
    for gutter, x in zip(gutters, columns, strict=True):
        room = [box for box in boxes if box.x == x]
        for target, lane in gutter.lanes.items():
            yield from _lane(room, target, lane, joints.get(target), colour[target])


def _lane(
    room: list[Box], target: str, lane: float, joint_y: float | None, colour: str
) -> Iterator[str]:
    """Draw a lane with what leads to it and, in the table's own room, the arrow to the table."""
    starts = [
        (box.x, box.row_y(column))
        for box in room
        for column in box.rows
        if any(key.column.table.name == target for key in column.foreign_keys)
    ]
    end = next((box for box in room if box.table.name == target), None)
    ys = [y for _, y in starts] + ([end.title_y] if end else [])
    ys += [] if joint_y is None else [joint_y]
    yield _path(colour, f"M{lane:.1f} {min(ys):.1f}V{max(ys):.1f}")
    for x, y in starts:
        yield _path(colour, f"M{x:.1f} {y:.1f}H{lane:.1f}")
        yield f'<circle cx="{lane:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>'
    if end is not None:
        y = end.title_y
        yield _path(colour, f"M{lane:.1f} {y:.1f}H{end.x - 7:.1f}")
        tip = f"M{end.x:.1f} {y:.1f}l-9 -4.5v9z"
        yield f'<path d="{tip}" fill="{colour}"/>'
    if joint_y is not None:
        yield f'<circle cx="{lane:.1f}" cy="{joint_y:.1f}" r="2.4" fill="{colour}"/>'


def _path(colour: str, steps: str) -> str:
    return f'<path d="{steps}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
