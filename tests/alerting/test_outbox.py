"""No message is lost, none goes twice without need, and a channel that is back does not flood."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.alerting.channels.envelope import (
    Image,
    accepted,
    failed_for_good,
    failed_for_now,
    retry_after,
)
from clinical_lakehouse.alerting.outbox.hand_over import step
from clinical_lakehouse.alerting.outbox.message import LAST_RESORT, Message, message_id, payload
from clinical_lakehouse.alerting.outbox.pace import Limit, backoff
from clinical_lakehouse.alerting.outbox.transitions import cancel, dead_letters, settle

START = datetime(2024, 6, 30, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS = {"email": Limit(5), "chat": Limit(3), "pager": Limit(100, folds=False)}
DOWN = failed_for_now("the server cannot be reached")


def message(name: str, *, channel="email", recipient="ana@example.org", **fields) -> Message:
    created = fields.pop("at", START)
    values = {
        "message_id": message_id(name, channel, recipient), "group_id": name, "alert_id": name,
        "kind": "page", "channel": channel, "recipient": recipient, "is_critical": True,
        "created_at": created, "due_at": created, "expires_at": created + timedelta(hours=24),
        "payload": payload(f"Subject {name}", "text", severity="critical"), **fields,
    }  # fmt: skip
    return Message(**values)


class Box:
    """The outbox as a task would run it: rows in a table, channels that answer as told."""

    def __init__(self, answer) -> None:
        self.rows: dict[str, Message] = {}
        self.answer = answer
        self.sent: list[tuple[datetime, Message]] = []
        self.took: list[tuple[datetime, Message]] = []

    def store(self, found) -> None:
        # Through rows without zones, as a table gives them back.
        for m in found:
            row = {
                k: v.replace(tzinfo=None) if isinstance(v, datetime) else v
                for k, v in m.row.items()
            }
            self.rows[m.message_id] = Message.of(row)

    def run(self, now: datetime, new=(), dies: str = "") -> None:
        if dies == "evaluate":
            return
        plan = step(self.rows.values(), new, LIMITS, now)
        if dies == "write":
            return
        self.store(plan.changed)
        for m in plan.to_send:
            if dies == "hand_over":
                return
            outcome = self.answer(m, now)
            self.sent.append((now, m))
            if outcome.result == "accepted":
                self.took.append((now, m))
            if dies == "settle":
                return
            self.store(settle(m, outcome, now, self.rows.values()))

    def states(self) -> dict[str, int]:
        return dict(Counter(m.state for m in self.rows.values()))

    def minutes(self, first: int, last: int, every: int = 5) -> None:
        for second in range(first * 60, last * 60, every):
            self.run(START + second * SECOND)


def good(m, now):
    return accepted("id-1")


def test_message_goes_once_and_keeps_the_providers_id():
    box = Box(good)
    for second in range(10):
        box.run(START + second * SECOND, [message("a")])  # the same call again and again
    assert [m.group_id for _, m in box.took] == ["a"]
    (row,) = box.rows.values()
    assert (row.state, row.provider_id, row.attempt) == ("accepted", "id-1", 1)


def test_only_the_recipient_that_failed_is_tried_again():
    def answer(m, now):
        is_ben = m.recipient == "ben@example.org"
        slow = is_ben and now < START + timedelta(minutes=3)
        return failed_for_now("greylisted", is_channel_fault=False) if slow else accepted("x")

    box = Box(answer)
    box.run(START, [message("a"), message("a", recipient="ben@example.org")])
    box.minutes(0, 20)
    tries = Counter(m.recipient for _, m in box.sent)
    assert (tries["ana@example.org"], box.states()) == (1, {"accepted": 2})
    assert 2 <= tries["ben@example.org"] <= 5


def test_backoff_doubles_within_its_cap_and_is_the_same_every_time():
    waits = [backoff("x", n).total_seconds() for n in range(1, 12)]
    assert waits == [backoff("x", n).total_seconds() for n in range(1, 12)]
    for n, wait in enumerate(waits):
        assert min(30 * 2**n, 900) / 2 <= wait <= min(30 * 2**n, 900)
    spread = [backoff(str(n), 5).total_seconds() for n in range(1000)]
    assert 340 < sum(spread) / 1000 < 380  # 480 s times 0.5 to 1
    assert len(set(spread)) > 990


def test_retry_after_holds_for_the_whole_channel():
    answers = iter([retry_after(90, "refused with HTTP 429")])
    box = Box(lambda m, now: next(answers, accepted("x")))
    box.run(START, [message("a", channel="pager")])
    box.run(START + 5 * SECOND, [message("b", channel="pager", at=START + 5 * SECOND)])
    box.minutes(0, 5)
    times = [(now - START).total_seconds() for now, _ in box.sent]
    assert times[0] == 0
    assert min(times[1:]) >= 90
    assert box.states() == {"accepted": 2}


def test_hour_without_a_channel_loses_nothing_and_ends_without_a_flood():
    back = START + timedelta(hours=1)
    box = Box(lambda m, now: DOWN if m.channel == "email" and now < back else accepted("x"))
    for minute in range(60):
        now = START + timedelta(minutes=minute)
        box.run(now, [message(f"n{minute}", at=now, is_critical=False)])
        box.minutes(minute, minute + 1, every=30)
    assert len(box.sent) < 40  # probes, not every message at every turn
    assert box.took == []
    box.minutes(60, 120)
    mores = [m for _, m in box.took if m.kind == "more"]
    assert box.states() == {"accepted": 60 + len(mores)}
    mail = [(now, m) for now, m in box.took if m.channel == "email"]
    assert max(_in_any(timedelta(minutes=10), [now for now, _ in mail])) <= 5
    assert 1 <= len(mores) <= 3
    assert sum(int(m.envelope.subject.split()[0]) for m in mores) + len(mail) - len(mores) == 60
    assert len(mail) < 20
    assert mores[0].envelope.subject.endswith("more notifications")


def test_critical_messages_come_before_others_and_the_oldest_first():
    box = Box(good)
    new = [message(f"w{n}", at=START - n * SECOND, is_critical=False) for n in range(9)]
    new += [message("page", at=START)]
    box.run(START, new)
    assert [m.group_id for _, m in box.took][:2] == ["page", "w8"]
    assert len(box.took) == 5
    assert box.took[-1][1].envelope.subject == "6 more notifications"


def test_machine_gets_each_event_however_many():
    box = Box(good)
    box.run(START, [message(f"p{n}", channel="pager", recipient="") for n in range(150)])
    assert len(box.took) == 100
    box.minutes(0, 12)
    assert len({m.message_id for _, m in box.took}) == 150


def test_more_message_that_fails_takes_the_others_to_the_last_resort():
    box = Box(lambda m, now: failed_for_good("no") if m.kind == "more" else accepted("x"))
    box.run(START, [message(f"n{n}") for n in range(8)])
    assert box.states() == {"accepted": 4, "failed": 5}
    box.minutes(0, 1)
    last = [m for _, m in box.took if m.channel == LAST_RESORT]
    missed = [m.group_id for m in box.rows.values() if m.state == "failed" and m.kind != "more"]
    assert sorted(m.group_id for m in last) == sorted(missed)
    assert len(last) == 4


def test_nobody_reached_goes_to_the_last_resort_at_once():
    box = Box(lambda m, now: accepted("x") if m.channel == LAST_RESORT else failed_for_good("no"))
    box.run(START, [message("a"), message("a", channel="chat"), message("b", is_critical=False)])
    box.run(START + SECOND)
    assert sorted(m.group_id for _, m in box.took) == ["a", "b"]
    assert len(dead_letters(box.rows.values())) == 3


def test_critical_message_does_not_wait_for_a_channel_that_is_down():
    box = Box(lambda m, now: accepted("x") if m.channel == LAST_RESORT else DOWN)
    box.run(START, [message("a"), message("w", is_critical=False)])
    box.minutes(0, 16)
    ((when, last),) = box.took
    assert (when - START, last.group_id) == (timedelta(minutes=15), "a")
    assert box.rows[message("a").message_id].state == "queued"  # and goes on trying


def test_last_resort_never_gives_up():
    late = START + timedelta(hours=5)
    box = Box(lambda m, now: accepted("x") if now >= late else failed_for_good("no"))
    box.run(START, [message("a")])
    box.minutes(0, 330, every=30)
    assert [m.channel for _, m in box.took] == [LAST_RESORT]


def test_message_that_nobody_wants_any_more_expires():
    box = Box(lambda m, now: accepted("x") if m.channel == LAST_RESORT else DOWN)
    box.run(START, [message("a", is_critical=False, expires_at=START + timedelta(minutes=10))])
    box.minutes(0, 15)
    assert box.rows[message("a").message_id].state == "expired"
    assert [m.channel for _, m in box.took] == [LAST_RESORT]


def test_acknowledgement_takes_back_every_page_that_is_not_out():
    """oncall 4654, 4760, from the other side: pages already queued stop too, and nobody is told
    that something is over who never heard of it."""
    box = Box(lambda m, now: DOWN)
    box.run(START, [message("a"), message("b"), message("a", channel="chat", kind="note")])
    now = START + SECOND
    box.store(cancel(box.rows.values(), {"a"}, now, "acknowledged"))
    box.answer = good
    box.store(step(box.rows.values(), [
        message("a", kind="resolved", channel="email", message_id="r1", at=now),
    ], LIMITS, now).changed)  # fmt: skip
    box.minutes(1, 40)
    assert {m.alert_id for _, m in box.took if m.kind == "page"} == {"b"}
    # The page of `a` had been tried once: its reader may have it, so it is announced as over.
    assert box.rows["r1"].state == "accepted"


def test_end_is_not_announced_to_who_never_got_the_page():
    box = Box(good)
    queued = message("a", due_at=START + timedelta(hours=1))
    box.run(START, [queued])
    box.store(cancel(box.rows.values(), {"a"}, START, "resolved"))
    box.run(START + SECOND, [message("a", kind="resolved", message_id="r1")])
    assert box.took == []
    assert box.rows["r1"].is_cancelled
    box.minutes(1, 30)
    assert box.took == []  # taken back is not lost: no last resort


def test_folded_pages_are_taken_back_with_the_message_that_speaks_for_them():
    box = Box(lambda m, now: failed_for_now("busy", is_channel_fault=False))
    box.run(START, [message(f"n{n}", alert_id="a") for n in range(8)])
    box.store(cancel(box.rows.values(), {"a"}, START + SECOND, "acknowledged"))
    assert box.states() == {"expired": 9}


def test_digest_keeps_its_pictures_on_the_way():
    image = Image("chart", b"\x89PNG\x00\xff", "Runs")
    m = message("d", payload=payload("Daily", "text", "<p>", images=[image]))
    assert Message.of(m.row).envelope.images == (image,)


def test_addresses_and_texts_are_in_no_repr():
    assert "ana@" not in repr(message("a"))
    assert "Subject" not in repr(message("a"))


def _in_any(window: timedelta, times: list[datetime]):
    return [sum(1 for t in times if start <= t < start + window) for start in times]


def _weather(chance: random.Random):
    """Channels that fail for stretches of time, each in a way of its own."""
    storms = {
        channel: [
            (a := chance.uniform(0, 3 * 3600), a + chance.uniform(60, 5400), chance.choice(
                [DOWN, failed_for_now("x"), retry_after(chance.uniform(1, 900), "x"),
                 failed_for_now("x", is_channel_fault=False), failed_for_good("x")]
            ))
            for _ in range(chance.randint(0, 4))
        ]
        for channel in ("email", "chat", "pager", LAST_RESORT)
    }  # fmt: skip

    def answer(m, now):
        at = (now - START).total_seconds()
        for first, last, outcome in storms[m.channel]:
            if first <= at < last:
                return outcome
        return failed_for_now("x") if chance.random() < 0.05 else accepted("x")

    return answer


@pytest.mark.parametrize("seed", range(30))
def test_every_critical_event_is_delivered_or_escalated_whatever_happens(seed):
    """Random outages, random deaths between evaluate, write, hand over and settle."""
    chance = random.Random(seed)
    box = Box(_weather(chance))
    people = ("ana@example.org", "ben@example.org")
    events: list[tuple[float, list[Message]]] = []
    for n in range(25):
        at = chance.uniform(0, 3 * 3600)
        channels = chance.sample(("email", "chat", "pager"), chance.randint(1, 2))
        moment = START + at * SECOND
        events.append((at, [
            message(f"e{n}", channel=c, recipient=p, at=moment, is_critical=n % 3 > 0)
            for c in channels for p in people
        ]))  # fmt: skip
    deaths, second = 0, 0.0
    while second < 9 * 3600:
        dies = chance.choice(("evaluate", "write", "hand_over", "settle"))
        dies = dies if chance.random() < 0.05 else ""
        deaths += bool(dies)
        new = [m for at, group in events if at <= second for m in group]
        box.run(START + second * SECOND, new, dies)
        second += chance.choice((5, 30, 60, 400))
    reached = {m.group_id for _, m in box.took}
    for more in (m for _, m in box.took if m.kind == "more"):
        reached |= {m.group_id for m in box.rows.values() if m.folded_into == more.message_id}
    assert {f"e{n}" for n in range(25) if n % 3 > 0} <= reached
    # Twice only where a process died after the provider had taken it.
    twice = [i for i, n in Counter(m.message_id for _, m in box.took).items() if n > 1]
    assert len(twice) <= deaths
    for channel, limit in LIMITS.items():
        for person in people:
            times = [now for now, m in box.took if (m.channel, m.recipient) == (channel, person)]
            assert max(_in_any(limit.within, times), default=0) <= limit.most
    assert not [m for m in box.rows.values() if m.is_open and m.is_critical and not _may_wait(m)]


def _may_wait(m: Message) -> bool:
    return m.expires_at is not None and m.expires_at > START + timedelta(hours=9)


def test_ten_thousand_events_are_one_round_of_few_seconds():
    new = [
        message(f"e{n}", channel="pager", recipient=str(n % 50), is_critical=False)
        for n in range(10_000)
    ]
    began = datetime.now(UTC)
    plan = step([], new, {"pager": replace(LIMITS["pager"], most=1000)}, START)
    assert len(plan.to_send) == 10_000
    assert datetime.now(UTC) - began < timedelta(seconds=5)
