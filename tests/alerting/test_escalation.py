"""Whoever does not answer is followed by the next; whoever does is left in peace."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clinical_lakehouse.alerting.escalation.policy import load_policies
from clinical_lakehouse.alerting.escalation.progress import advance
from clinical_lakehouse.alerting.on_call.reading import load_on_call
from clinical_lakehouse.errors import SettingsError
from tests.alerting.rota import on_call, rota

START = datetime(2024, 1, 3, 22, 0, tzinfo=UTC)  # a Wednesday, 23:00 in Berlin
CHANNELS = {"email": True, "chat": True, "webhook": False}
POLICIES = """\
escalations:
  page:
    steps:
      - {wait_minutes: 0, schedules: [data], channels: [email]}
      - {wait_minutes: 15, people: [ben], channels: [email, chat]}
    then: lead
    remind_after_hours: 4
    reminders: 3
  lead:
    steps: [{wait_minutes: 30, people: [chi], channels: [email]}]
  office:
    steps:
      - {wait_minutes: 5, schedules: [data], channels: [email]}
      - {wait_minutes: 60, people: [ben], channels: [email]}
    only: {days: [weekdays], since: "08:00", until: "18:00", zone: Europe/Berlin}
"""


class Night:
    """Rows as a table would keep them, and every call that was handed over."""

    def __init__(self, folder: Path, policies: str = POLICIES, **alert) -> None:
        self.on_call = on_call(folder, rota())
        self.policies = _policies(folder, policies, self.on_call)
        self.rows: dict[str, dict] = {}
        self.calls: dict[str, tuple[float, object]] = {}
        self.alert = {
            "alert_id": "a1", "episode": "1", "policy": "page", "state": "firing",
            "started_at": START, "acknowledged_by": None, "acknowledged_at": None, **alert,
        }  # fmt: skip

    def at(self, minutes: float, **changes) -> list:
        """Run at that minute; what is new to the outbox."""
        self.alert.update(changes)
        now = START + timedelta(minutes=minutes)
        rows, calls = advance(self.policies, self.on_call, self.rows.values(), [self.alert], now)
        self.rows.update({row["alert_id"]: row for row in rows})
        new = [call for call in calls if call.key not in self.calls]
        self.calls.update({call.key: (minutes, call) for call in new})
        return [(call.kind, call.person, call.channel) for call in new]

    def until(self, first: float, last: float, every: float = 1) -> list:
        minutes = range(int(first), int(last), int(every))
        return [(m, *call) for m in minutes for call in self.at(m)]

    def acknowledge(self, minutes: float, by: str = "ana") -> list:
        moment = START + timedelta(minutes=minutes)
        return self.at(minutes, state="acknowledged", acknowledged_by=by, acknowledged_at=moment)


def _policies(folder, text, found):
    (folder / "conf" / "alerting" / "escalations.yml").write_text(text)
    return load_policies(folder / "conf", found, CHANNELS)


def test_steps_run_at_their_time_and_the_next_policy_follows(tmp_path):
    night = Night(tmp_path)
    assert night.until(0, 300) == [
        (0, "page", "ana", "email"),
        (15, "page", "ben", "email"), (15, "page", "ben", "chat"),
        (45, "page", "chi", "email"), (45, "unanswered", None, "last_resort"),
    ]  # fmt: skip


def test_late_step_runs_once_and_says_so_after_six_hours_of_silence(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    assert night.until(360, 390) == [
        (360, "page", "ben", "email"), (360, "page", "ben", "chat"),
    ]  # fmt: skip
    late = [(m, c.is_late) for m, c in night.calls.values() if c.person == "ben"]
    assert late == [(360, True)] * 2
    assert night.until(390, 400) == [
        (390, "page", "chi", "email"), (390, "unanswered", None, "last_resort"),
    ]  # fmt: skip


def test_crash_between_handing_over_and_writing_repeats_the_same_keys(tmp_path):
    night = Night(tmp_path)
    rows, calls = advance(night.policies, night.on_call, [], [night.alert], START)
    again = advance(night.policies, night.on_call, [], [night.alert], START + timedelta(minutes=2))
    assert [c.key for c in calls] == [c.key for c in again[1]]
    assert rows[0]["step"] == again[0][0]["step"] == 1


def test_no_page_after_acknowledgement(tmp_path):
    """oncall 4654, 4760: pages went on after acknowledgement."""
    night = Night(tmp_path)
    night.at(0)
    assert night.acknowledge(14.9) == []
    assert night.until(15, 239) == []


def test_acknowledged_alert_does_not_page_months_later(tmp_path):
    """oncall 3111: it paged again two months later, from a due time that had stayed behind."""
    night = Night(tmp_path)
    night.at(0)
    night.rows["a1"]["due_at"] = START + timedelta(minutes=15)
    night.acknowledge(10)
    found = night.until(10, 90 * 24 * 60, every=60)
    assert {kind for _, kind, _, _ in found} == {"reminder"}
    assert night.rows["a1"]["due_at"] is None


def test_acknowledged_and_forgotten_is_reminded_of_a_few_times(tmp_path):
    """oncall 1792: whoever acknowledged hears again while it stays open; at last so does whoever
    is on call."""
    night = Night(tmp_path)
    night.at(0)
    night.acknowledge(10, by="ben")
    assert night.until(10, 3 * 24 * 60) == [
        (250, "reminder", "ben", "email"), (490, "reminder", "ben", "email"),
        (730, "reminder", "ben", "email"), (730, "reminder", "ana", "email"),
    ]  # fmt: skip


def test_acknowledgement_by_somebody_unknown_reminds_who_is_paged_first(tmp_path):
    policy = "{wait_minutes: 0, people: [ben], channels: [email]}"
    night = Night(tmp_path, f"escalations:\n  page: {{steps: [{policy}]}}\n")
    night.at(0)
    night.acknowledge(10, by="somebody")
    assert night.at(250) == [("reminder", "ben", "email")]


def test_reminders_after_a_night_of_silence_do_not_pile_up(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    night.acknowledge(10)
    assert night.at(60 * 24) == [("reminder", "ana", "email")]
    assert night.at(60 * 24 + 1) == []


def test_who_was_told_hears_that_it_is_over_and_nobody_else(tmp_path):
    """oncall 5450: no mail when it was resolved."""
    night = Night(tmp_path)
    night.until(0, 20)
    assert sorted(night.at(20, state="resolved")) == [
        ("resolved", "ana", "email"), ("resolved", "ben", "chat"), ("resolved", "ben", "email"),
    ]  # fmt: skip
    now = START + timedelta(hours=2)
    again = advance(night.policies, night.on_call, night.rows.values(), [night.alert], now)
    assert again == ([], [])  # nothing more, not even under the same keys


def test_alert_that_told_nobody_is_not_announced_as_over(tmp_path):
    night = Night(tmp_path, policy="office")
    night.at(0)
    assert night.at(1, state="resolved") == []
    assert night.until(2, 60 * 24, every=10) == []


def test_paused_step_waits_for_the_window_across_restarts(tmp_path):
    """oncall 1206: a step that a time window paused never ran after a restart."""
    night = Night(tmp_path, policy="office")
    night.at(0)  # 23:00 in Berlin; the window opens at 08:00, in nine hours
    assert night.rows["a1"]["due_at"] == datetime(2024, 1, 4, 7, tzinfo=UTC)
    assert night.until(1, 539) == []
    # The process was away when the window opened; nothing but the row remembers.
    assert night.until(550, 620) == [
        (550, "page", "ana", "email"), (610, "page", "ben", "email"),
        (610, "unanswered", None, "last_resort"),
    ]  # fmt: skip
    assert next(c.is_late for _, c in night.calls.values())


def test_step_that_missed_the_whole_window_waits_for_the_next_one(tmp_path):
    night = Night(tmp_path, policy="office", started_at=datetime(2024, 1, 5, 10, tzinfo=UTC))
    friday_night = (datetime(2024, 1, 5, 20, tzinfo=UTC) - START) / timedelta(minutes=1)
    assert night.at(friday_night) == []
    assert night.rows["a1"]["due_at"] == datetime(2024, 1, 8, 7, tzinfo=UTC)  # Monday


def test_acknowledgement_taken_back_goes_on_with_the_next_step(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    night.acknowledge(5)
    night.at(30, state="firing", acknowledged_by=None, acknowledged_at=None)
    assert night.until(31, 50)[0] == (45, "page", "ben", "email")


def test_new_episode_starts_anew_and_an_old_one_does_not(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    night.at(5, state="resolved")
    assert night.at(
        100, state="firing", episode="2", started_at=START + timedelta(minutes=100)
    ) == [("page", "ana", "email")]


def test_policy_that_conf_lost_starts_anew_with_the_alerts_own(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    night.rows["a1"]["policy"] = "gone"
    night.calls.clear()
    assert night.at(1) == [("page", "ana", "email")]


def test_rows_survive_a_table_that_drops_zones(tmp_path):
    night = Night(tmp_path)
    night.at(0)
    row = night.rows["a1"]
    night.rows["a1"] = {
        k: v.replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in row.items()
    }
    assert night.at(14) == []
    assert night.at(15)[0] == ("page", "ben", "email")


def test_any_pattern_of_restarts_pages_each_step_once_until_answered(tmp_path):
    """200 nights with random runs, gaps of hours and acknowledgements: no step is lost or twice."""
    night = Night(tmp_path)
    for seed in range(200):
        chance = random.Random(seed)
        night.rows, night.calls = {}, {}
        night.alert.update(state="firing", acknowledged_by=None, acknowledged_at=None)
        minute, answers = 0.0, chance.choice((None, chance.uniform(1, 200)))
        answered = 1e9
        while minute < 1500:
            if answers is not None and minute >= answers and night.alert["state"] == "firing":
                night.acknowledge(minute)
                answered = minute
            night.at(minute)
            minute += chance.choice((0.5, 3, 20, 360))
        pages = [(m, c) for m, c in night.calls.values() if c.kind == "page"]
        assert all(m < answered for m, _ in pages), seed
        if answers is None:
            assert sorted(c.person + c.channel for _, c in pages) == [
                "anaemail", "benchat", "benemail", "chiemail",
            ], seed  # fmt: skip


REFUSED = {
    "loop": (
        POLICIES.replace("chi], channels: [email]}]", "chi], channels: [email]}]\n    then: page"),
        "escalations.yml:6 goes round in a loop: page -> lead -> page",
    ),
    "itself": (POLICIES.replace("then: lead", "then: page"), ":6 goes round in a loop"),
    "nowhere": (POLICIES.replace("then: lead", "then: boss"), ":6 goes on to an unknown"),
    "schedule": (POLICIES.replace("[data]", "[date]", 1), ":4 names an unknown schedule 'date'"),
    "person": (POLICIES.replace("[ben]", "[bob]", 1), ":5 names an unknown person 'bob'"),
    "channel": (POLICIES.replace("[email]", "[mail]", 1), ":4 names an unknown channel 'mail'"),
    "contact": (
        POLICIES.replace("people: [chi], channels: [email]", "people: [chi], channels: [chat]"),
        ":10 pages 'chi', who has no contact for 'chat'",
    ),
    "at_once": (POLICIES.replace("wait_minutes: 15", "wait_minutes: 0"), ":5 wait_minutes must be"),
    "nobody": (POLICIES.replace("people: [chi], ", ""), ":10 a step needs schedules or people"),
    "no_steps": ("escalations:\n  page: {steps: []}\n", ":2 'page' needs at least one step"),
    "window": (POLICIES.replace("[weekdays]", "[weekday]"), ":15 names an unknown day 'weekday'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_escalation_that_cannot_work_is_refused_with_file_and_line(tmp_path, case):
    text, said = REFUSED[case]
    with pytest.raises(SettingsError) as refused:
        _policies(tmp_path, text, on_call(tmp_path, rota()))
    assert said in str(refused.value)


def test_shipped_escalations_load():
    conf = Path(__file__).parents[2] / "conf"
    found = load_policies(conf, load_on_call(conf), {"email": True})
    assert {"page", "working_hours", "safety"} <= set(found)
