from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, strategies as st

from nlc.train.loop import Status
from nlc.train.progress import show_progress
from nlc.train.report import ReportSection, report_html, write_report
from nlc.train.svg import BOTTOM, LEFT, RIGHT, TOP, Series, line_chart

SVG = "{http://www.w3.org/2000/svg}"
numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([float("nan"), float("inf")])


def chart(*points: tuple[float, float], baseline: float = 2.5, title: str = "A < B & C") -> str:
    return line_chart(title=title, x_label="step", y_label="loss", series=(Series("line", "#123456", points),), baseline=("base", baseline))


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_a_chart_has_a_title_ticks_and_a_legend() -> None:
    found = texts(chart((0, 5.5), (400, 1.5)))
    assert found[:3] == ["A < B & C", "step", "loss"]
    assert {"0", "100", "400", "1.5", "5.5", "line 1.500", "base 2.500"} <= set(found)


def test_the_line_goes_where_the_numbers_say() -> None:
    root = ElementTree.fromstring(chart((0, 1), (50, 2), (100, 3), baseline=1))
    (line,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert points == [(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (BOTTOM + TOP) / 2), (RIGHT, TOP)]


@given(st.lists(st.tuples(numbers, numbers), max_size=12), st.floats(-1e6, 1e6))
def test_any_numbers_give_a_picture_inside_its_frame(points: list[tuple[float, float]], baseline: float) -> None:
    picture = chart(*points, baseline=baseline)
    assert picture == chart(*points, baseline=baseline)
    for line in ElementTree.fromstring(picture).iter(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert LEFT - 0.1 <= x <= RIGHT + 0.1 and TOP - 0.1 <= y <= BOTTOM + 0.1
    assert len(texts(picture)) < 40


def status(step: int, held_out_loss: float | None = None) -> Status:
    return Status(step=step, steps=100, train_loss=2.0, held_out_loss=held_out_loss, tokens_per_second=1000.0, seconds=step * 2.0)


def test_plain_progress_is_a_line_every_ten_seconds_and_the_last() -> None:
    stream, seconds = io.StringIO(), iter(range(0, 10_000, 2))
    now = 0

    def clock() -> float:
        return now

    with show_progress(stream, clock=clock) as watch:
        for step in range(1, 101):
            now = next(seconds)
            watch(status(step, 2.125 if step == 50 else None))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[0] == "step 1/100: train 2.000, 1,000 tokens/s, 3:18 left"
    assert lines[-1] == "step 100/100: train 2.000, held out 2.125 nats/byte, 1,000 tokens/s, 0:00 left"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_progress_shows_the_step_and_the_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with show_progress(stream) as watch:
        watch(status(7, 2.5))
    assert "step 7/100" in stream.getvalue() and "held out 2.500 nats/byte" in stream.getvalue()


SECTIONS = (
    ReportSection(
        title="Delta <rule>",
        says="One step per token.",
        explanation="rank  level\n0     memory",
        verdicts=(("proved", 2), ("not as expected", 1)),
        picture=chart((0, 5), (10, 2)),
    ),
    ReportSection(title="Run", facts=(("held out", "1.57 nats/byte"),)),
)


def test_a_report_is_one_page_with_everything_in_it(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", SECTIONS, title="Report & more", says="What was found.")
    page = (tmp_path / "report.html").read_text()
    assert page == report_html(SECTIONS, title="Report & more", says="What was found.")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "<title>Report &amp; more</title>" in page and "Delta &lt;rule&gt;" in page and "<rule>" not in page
    assert '<span class="verdict good">2 proved</span><span class="verdict bad">1 not as expected</span>' in page
    assert "<pre>rank  level\n0     memory</pre>" in page and "<dt>held out</dt><dd>1.57 nats/byte</dd>" in page
    assert page.count("<svg") == 1 and 'href="http' not in page and "src=" not in page


def test_every_link_of_a_report_has_its_part() -> None:
    page = report_html(SECTIONS, title="Report", says="")
    assert all(f'href="#part-{number}"' in page and f'id="part-{number}"' in page for number in (1, 2))
