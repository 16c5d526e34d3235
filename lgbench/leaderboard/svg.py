"""Curves of accuracy by length as an SVG file, written element by element.

`lgbench plot` draws with matplotlib; the leaderboard does not, for two reasons. The same submissions must give the same
bytes on every machine, and what matplotlib writes changes with its version and with the fonts. And every byte of the
board must be checked where only the core is installed, as where pull requests are checked: an unchecked picture
could show anything. Text remains text, in the reader's own sans-serif font, and positions depend on the numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple
from xml.etree import ElementTree as ET

from lgbench.data.groups import Group, Zone
from lgbench.scoring.curves import Curve, axis_ends, zone_spans
from lgbench.scoring.styles import ARM_STYLES, ZONE_SHADES, Style

# Pixels, from the upper left corner.
_WIDTH, _HEIGHT = 720, 330
_SMALL_WIDTH, _SMALL_HEIGHT = 80, 36
OPENING = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
"""How every picture begins."""
SMALL_OPENING = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SMALL_WIDTH} {_SMALL_HEIGHT}" role="img"'
"""How every small picture begins."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 494, 58, 282
_LEGEND, _SWATCH, _ROW = 508, 24, 20
_MARGIN = 7  # so that a line at 0 or 100 % does not lie on the frame
_MEAN, _SEED, _SMALL_LINE = 2.4, 0.9, 1.6  # widths of lines
_LEAST_TICK = 16  # between the lengths written below the axis
_TITLE, _TEXT, _NOTE = 13, 12, 11  # sizes of text; the narrowest place holds a wide font too
_DASHES = "5 4"


class Paper(NamedTuple):
    """The colours of everything but the curves.

    Attributes:
        ground: The ground; None if it is transparent.
        ink: Text and dashed lines.
        grid: The lines of the grid.
        shades: The zones.
        opacity: Of grid and zones, or None if they are opaque.
    """

    ground: str | None
    ink: str
    grid: str
    shades: Mapping[Zone, str]
    opacity: str | None = None


WHITE = Paper("#ffffff", "#333333", "#d5d5d5", ZONE_SHADES)
"""For a file, which looks the same wherever it is shown."""
OF_THE_PAGE = Paper(
    None,
    "currentColor",
    "currentColor",
    {"in_distribution": "#4c9a2a", "transfer": "#1f77b4", "beyond": "#d98c30"},
    opacity="0.14",
)
"""For a part of a page, such as the output of a notebook: readable whether the page is light or dark."""


class _Axis(NamedTuple):
    """The axis of lengths."""

    first: float
    last: float

    def x(self, length: float) -> float:
        return _LEFT + (length - self.first) / (self.last - self.first) * (_RIGHT - _LEFT)


def _y(share: Fraction) -> Fraction:
    return _BOTTOM - _MARGIN - share * (_BOTTOM - _TOP - 2 * _MARGIN)


def draw(
    curves: Sequence[tuple[Curve, Style]],
    *,
    title: str,
    description: str,
    group: Group | None,
    paper: Paper = WHITE,
) -> str:
    """The text of an SVG file: each seed thin, the mean bold.

    Args:
        curves: From the lowest to the topmost.
        title: The line above.
        description: A description for readers who cannot see it.
        group: The group whose zones are shaded and whose training lengths are dashed lines.
        paper: The colours of the rest.
    """
    lengths = sorted({length for curve, _ in curves for length in curve.lengths})
    axis = _Axis(*axis_ends(lengths))
    svg = _element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    svg.attrib |= {"width": str(_WIDTH), "height": str(_HEIGHT), "font-family": "Helvetica, Arial, sans-serif"}
    svg.append(_element("title", title))
    svg.append(_element("desc", description))
    if paper.ground is not None:
        svg.append(_element("rect", width=_WIDTH, height=_HEIGHT, fill=paper.ground))
    svg.append(_label(_LEFT, 24, title, paper, anchor="start", size=_TITLE, font_weight="bold"))
    svg.extend(_zones(axis, group, paper) if group else ())
    svg.extend(_axes(axis, lengths, paper))
    svg.extend(_training_lengths(axis, group, paper) if group else ())
    for curve, look in curves:
        svg.extend(_curve(axis, curve, look))
    svg.extend(_legend(curves, group, paper))
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def draw_small(curves: Sequence[tuple[Curve, Style]], *, title: str, group: Group) -> str:
    """The text of a small SVG file: the means alone, over the shaded transfer zone, for a light or dark page.

    Args:
        curves: From the lowest to the topmost.
        title: A description.
        group: The group whose transfer zone is shaded.
    """
    lengths = sorted({length for curve, _ in curves for length in curve.lengths})
    first, last = axis_ends(lengths)

    def x(length: float) -> float:
        return 1 + (length - first) / (last - first) * (_SMALL_WIDTH - 2)

    svg = _element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_SMALL_WIDTH} {_SMALL_HEIGHT}", role="img")
    svg.attrib |= {"width": str(_SMALL_WIDTH), "height": str(_SMALL_HEIGHT)}
    svg.append(_element("title", title))
    for zone, left, right in zone_spans(group):
        if zone == "transfer":
            shade = {"fill": ARM_STYLES["transfer"].color, "fill_opacity": "0.18"}
            svg.append(_element("rect", x=x(left), y=0, width=x(right) - x(left), height=_SMALL_HEIGHT, **shade))
    for curve, look in curves:
        ys = [_SMALL_HEIGHT - 3 - share * (_SMALL_HEIGHT - 6) for share in curve.mean]
        svg.append(_line([x(length) for length in curve.lengths], ys, look, _SMALL_LINE))
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _zones(axis: _Axis, group: Group, paper: Paper) -> Iterator[ET.Element]:
    for zone, left, right in zone_spans(group):
        x, width = axis.x(left), axis.x(right) - axis.x(left)
        shade = {"fill": paper.shades[zone], **_see_through(paper, "fill")}
        yield _element("rect", x=x, y=_TOP, width=width, height=_BOTTOM - _TOP, **shade)
        yield _label(x + width / 2, _TOP - 8, zone.replace("_", "-"), paper, size=_NOTE)


def _axes(axis: _Axis, lengths: Sequence[int], paper: Paper) -> Iterator[ET.Element]:
    for percent in range(0, 101, 25):
        y = _y(Fraction(percent, 100))
        line = {"stroke": paper.grid, **_see_through(paper, "stroke")}
        yield _element("line", x1=_LEFT, y1=y, x2=_RIGHT, y2=y, **line)
        yield _label(_LEFT - 8, y + 4, str(percent), paper, anchor="end")
    written = -float(_LEAST_TICK)
    for length in lengths:
        if axis.x(length) - written >= _LEAST_TICK:
            written = axis.x(length)
            yield _label(written, _BOTTOM + 18, str(length), paper)
    yield _label((_LEFT + _RIGHT) / 2, _BOTTOM + 38, "length", paper)


def _training_lengths(axis: _Axis, group: Group, paper: Paper) -> Iterator[ET.Element]:
    for length in (group.main_length, group.aux_length):
        x = axis.x(length)
        yield _element("line", x1=x, y1=_TOP, x2=x, y2=_BOTTOM, stroke=paper.ink, stroke_dasharray=_DASHES)


def _curve(axis: _Axis, curve: Curve, look: Style) -> Iterator[ET.Element]:
    xs = [axis.x(length) for length in curve.lengths]
    for seed in curve.seeds if len(curve.seeds) > 1 else ():
        line = _line(xs, [_y(share) for share in seed], look, _SEED)
        line.set("stroke-opacity", "0.6")
        yield line
    mean = [_y(share) for share in curve.mean]
    yield _line(xs, mean, look, _MEAN)
    for x, y in zip(xs, mean, strict=True):
        yield _element("circle", cx=x, cy=y, r=3, fill=look.color)


def _line(xs: Sequence[float], ys: Sequence[float | Fraction], look: Style, width: float) -> ET.Element:
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in zip(xs, ys, strict=True))
    line = _element("polyline", points=points, fill="none", stroke=look.color, stroke_width=width)
    if look.dashes:
        line.set("stroke-dasharray", " ".join(_number(width * part) for part in look.dashes))
    return line


def _legend(curves: Sequence[tuple[Curve, Style]], group: Group | None, paper: Paper) -> Iterator[ET.Element]:
    y, end = _TOP + 8, _LEGEND + _SWATCH
    for curve, look in curves:
        yield _line([_LEGEND, end], [y, y], look, _MEAN)
        yield _element("circle", cx=_LEGEND + _SWATCH / 2, cy=y, r=3, fill=look.color)
        yield _label(end + 6, y + 4, curve.label, paper, anchor="start", size=_NOTE)
        y += _ROW
    if group:
        yield _element("line", x1=_LEGEND, y1=y, x2=end, y2=y, stroke=paper.ink, stroke_dasharray=_DASHES)
        yield _label(end + 6, y + 4, "training lengths", paper, anchor="start", size=_NOTE)
        y += _ROW
    if any(len(curve.seeds) > 1 for curve, _ in curves):
        yield _label(_LEGEND, y + 4, "bold: mean, thin: each seed", paper, anchor="start", size=_NOTE)


def _see_through(paper: Paper, what: str) -> dict[str, str]:
    return {} if paper.opacity is None else {f"{what}_opacity": paper.opacity}


def _label(
    x: float,
    y: float | Fraction,
    text: str,
    paper: Paper,
    *,
    anchor: str = "middle",
    size: int = _TEXT,
    **attributes: str,
) -> ET.Element:
    return _element("text", text, x=x, y=y, fill=paper.ink, text_anchor=anchor, font_size=size, **attributes)


def _element(tag: str, text: str | None = None, **attributes: str | float | Fraction) -> ET.Element:
    """An element. `_` in the name of an attribute means `-`."""
    written = {name: value if isinstance(value, str) else _number(value) for name, value in attributes.items()}
    element = ET.Element(tag, {name.replace("_", "-"): value for name, value in written.items()})
    element.text = text
    return element


def _number(value: float | Fraction) -> str:
    """A number with at most one decimal."""
    return f"{float(value):.1f}".removesuffix(".0")
