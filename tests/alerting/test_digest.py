"""A digest says what changed, says when nothing did, hides small numbers, and weighs little."""

import email
import email.policy
import html
import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from clinical_lakehouse.alerting.audience import load_labels
from clinical_lakehouse.alerting.channels.smtp import mail
from clinical_lakehouse.alerting.digest.content import AlertLine, Figure, Group, Series
from clinical_lakehouse.alerting.digest.mail import LARGEST_BYTES, render_digest
from clinical_lakehouse.alerting.messages.compose import Desk, digest_message
from clinical_lakehouse.alerting.messages.templates import load_templates
from clinical_lakehouse.alerting.on_call.reading import load_on_call
from tests.alerting.made_up_digest import UNTIL, quiet, week

CONF = Path(__file__).parents[2] / "conf"


@cache
def _weekly(hides_small: bool):
    """Drawn once: the pictures take the time."""
    return render_digest(week(), hides_small=hides_small)


def _words(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", "", text)))


def test_same_data_gives_the_same_bytes():
    made = render_digest(week(), hides_small=True)
    assert made == _weekly(True)
    assert made.page == _weekly(True).page


def test_text_and_html_tell_the_same_figures():
    made = _weekly(True)
    number = r"\d[\d.,]*\d%?|\d%?"
    told = set(re.findall(number, made.text))
    assert len(told) > 40
    pictures = {"96.8%", "94.0%", "9,000", "3,629", "4,886"}  # told of charts in words
    assert told - set(re.findall(number, _words(made.html))) <= pictures


def test_what_changed_since_last_time_is_said():
    made = _weekly(True)
    assert made.subject.startswith("Weekly digest 30 Jun 2024: 171 runs, 3 failed.")
    assert "Quality score: 94.2%, was 96.7% (−2.5 pp)" in made.text
    assert "Open quarantine: 86, was 41 (+45)" in made.text
    assert "Model AUROC: 0.78 (unchanged · limit 0.65)" in made.text
    assert "quality_score · silver.lab_result · warning: new, open (28 Jun 2024 04:10)" in made.text


def test_nothing_happened_is_said():
    assert (
        "Nothing happened. 171 runs, none failed" in render_digest(quiet(), hides_small=True).text
    )
    german = render_digest(quiet(), hides_small=True, language="de")
    assert german.subject == "Tagesbericht 30 Jun 2024: Nichts ist geschehen."


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": 0},
        {"groups": [Group("By site", {"S01": 5}, {"S01": 6})]},
    ],
)
def test_nothing_happened_is_not_said_where_something_may_be_wrong(changes):
    made = render_digest(replace(quiet(), **changes), hides_small=True)
    assert "Nothing happened" not in made.text + made.subject
    if "runs" in changes:
        assert "Is the scheduler running?" in made.subject


def test_small_numbers_are_hidden_by_audience_with_what_would_tell_them():
    open_eyes = _weekly(False)
    assert "S05: 8 (was 7, +1)" in open_eyes.text
    assert "not shown" not in open_eyes.text
    closed = _weekly(True)
    assert "S05: <11 (was <11, –)" in closed.text
    assert "S04: – (was –, –)" in closed.text  # 312 less the other four would be S05
    assert "27" not in closed.text


@pytest.mark.parametrize("value", [1, 5, 10])
def test_small_figure_shows_neither_itself_nor_its_change(value):
    small = Figure("Withdrawn", value, 30, "people", "down")
    made = render_digest(week(figures=[small], groups=[], series=[]), hides_small=True)
    assert "Withdrawn: <11 (–)" in made.text
    assert "Withdrawn: " not in made.text.partition("What changed")[2]
    assert str(value - 30).replace("-", "−") not in made.text
    nobody = Figure("Withdrawn", 0, 0, "people")
    assert (
        "Withdrawn: 0 (unchanged)"
        in render_digest(week(figures=[nobody], series=[]), hides_small=True).text
    )


def test_small_numbers_are_not_drawn():
    days = [(date(2024, 6, n), float(n)) for n in range(1, 11)]
    hidden = week(series=[Series("Withdrawn", days, "people")])
    assert render_digest(hidden, hides_small=True).images == ()
    assert len(render_digest(hidden, hides_small=False).images) == 1


def test_digest_stays_under_its_weight_however_much_there_is():
    since = datetime(2024, 6, 1, tzinfo=UTC)
    alerts = [
        AlertLine("critical", f"kind_{n}", "x" * 80, "firing", since, True) for n in range(999)
    ]
    noise = [
        Series(f"Noise {s}", [(date(2024, 1, 1) + timedelta(n), (n * 7919 * (s + 1)) % 997)
                              for n in range(300)])
        for s in range(5)
    ]  # fmt: skip
    sites = {f"S{n:03d}": 100 + n for n in range(400)}
    made = render_digest(
        week(alerts=alerts, series=noise, groups=[Group("By site", sites, sites)]), hides_small=True
    )
    assert made.size_bytes <= LARGEST_BYTES
    assert "and 989 more" in made.text
    assert _weekly(True).size_bytes < 60_000


def test_pictures_go_first_where_a_digest_weighs_too_much(monkeypatch):
    monkeypatch.setattr("clinical_lakehouse.alerting.digest.mail.LARGEST_BYTES", 34_000)
    made = render_digest(week(), hides_small=True)
    assert [image.name for image in made.images] == ["chart0"]
    assert "chart1" not in made.html


def test_most_urgent_alert_stands_first():
    since = datetime(2024, 6, 1, tzinfo=UTC)
    alerts = [
        AlertLine("info", "c", "t", "firing", since, False),
        AlertLine("critical", "d", "t", "resolved", since, False),
        AlertLine("critical", "b", "t", "firing", since, True),
    ]
    text = render_digest(week(alerts=alerts, series=[]), hides_small=True).text
    assert text.index("- b ·") < text.index("- c ·") < text.index("- d ·")


def test_free_text_in_a_label_is_not_shown():
    since = datetime(2024, 6, 1, tzinfo=UTC)
    alert = AlertLine("critical", "John Smith fell", "born 1950 <b>", "firing", since, True)
    group = Group("By site", {"John Smith": 40}, {"John Smith": 40})
    made = render_digest(week(alerts=[alert], groups=[group], series=[]), hides_small=True)
    assert "John" not in made.text + made.html + made.subject
    assert "1950" not in made.html


def test_pictures_are_seen_on_light_and_on_dark():
    for image in _weekly(True).images:
        with Image.open(io.BytesIO(image.png)) as found:
            picture = found.convert("RGBA")
        assert picture.width > 1000
        assert picture.getpixel((0, 0))[3] == 0  # transparent
        solid = {pixel[:3] for _, pixel in picture.getcolors(100_000) if pixel[3] == 255}
        for ground in ((255, 255, 255), (26, 33, 43)):
            assert solid
            assert all(_contrast(colour, ground) >= 2.2 for colour in solid)


def _contrast(one, other) -> float:
    """WCAG 2.1, relative luminance."""

    def light(colour):
        parts = [c / 255 for c in colour]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_mail_carries_its_pictures_and_asks_no_network():
    made = _weekly(True)
    desk = Desk(load_on_call(CONF), load_templates(CONF, load_labels(CONF)), {"email": True})
    message = digest_message(desk, week(), "ana", "email", hides_small=True)
    again = digest_message(desk, week(), "ana", "email", hides_small=True)
    assert message == again
    sent = mail(message.envelope, "lakehouse@example.org", UNTIL).as_bytes()
    read = email.message_from_bytes(sent, policy=email.policy.default)
    own = {part["Content-ID"].strip("<>") for part in read.walk() if part["Content-ID"]}
    body = read.get_body(("html",)).get_content()
    assert set(re.findall(r'src="cid:([^"]+)"', body)) == own == {"chart0", "chart1"}
    assert not re.search(r'(src|href)="http', body)
    assert "cid:" not in made.page.decode()
    assert len(sent) < LARGEST_BYTES
