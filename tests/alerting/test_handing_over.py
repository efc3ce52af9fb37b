"""Every message of a round gets an outcome, in time, whatever one channel does."""

import socket
import threading
import time
from datetime import UTC, datetime

from clinical_lakehouse.alerting.channels.dispatch import dispatch
from clinical_lakehouse.alerting.channels.envelope import Envelope, Result, accepted
from clinical_lakehouse.alerting.channels.http import Wire
from clinical_lakehouse.alerting.channels.webhooks import SlackWebhook

NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)


class Stub:
    """A channel that takes its time, or raises."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error, self.seen = seconds, error, []

    def send(self, envelope, now):
        time.sleep(self.seconds)
        self.seen.append(envelope.key)
        if self.error:
            raise self.error
        return accepted("x")


def _letter(channel: str, key: str) -> tuple[str, Envelope]:
    return channel, Envelope(key, "", "subject", "text")


def test_slow_channel_keeps_no_other_waiting_and_is_left_when_time_is_up():
    slow, quick = Stub(0.25), Stub()
    letters = [_letter(name, f"{name[0]}{n}") for name in ("slow", "quick") for n in range(5)]
    began, found, times = time.monotonic(), {}, {}
    for key, outcome in dispatch(letters, {"slow": slow, "quick": quick}, NOW, 0.6):
        found[key], times[key] = outcome, time.monotonic() - began
    assert len(found) == 10
    assert max(times[f"q{n}"] for n in range(5)) < 0.2
    assert max(times.values()) < 0.9
    assert [found[f"s{n}"].result for n in (0, 4)] == [Result.ACCEPTED, Result.FAILED_FOR_NOW]
    time.sleep(0.4)
    assert len(slow.seen) <= 3  # nothing more goes out after the round is over


def test_message_that_breaks_its_channel_breaks_no_other():
    channels = {"bad": Stub(error=KeyError("PATIENT-7")), "good": Stub()}
    named = {"b1": "bad", "b2": "bad", "g": "good", "x": "gone"}
    letters = [_letter(name, key) for key, name in named.items()]
    found = dict(dispatch(letters, channels, NOW, 5))
    assert {k: o.result for k, o in found.items()} == {
        "b1": Result.FAILED_FOR_NOW, "b2": Result.FAILED_FOR_NOW, "g": Result.ACCEPTED,
        "x": Result.FAILED_FOR_GOOD,
    }  # fmt: skip
    assert not any("PATIENT" in outcome.reason for outcome in found.values())


def test_server_that_drips_its_headers_is_left_too():
    """No timeout of a socket sees it: every byte comes in time."""
    server = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not is_over.wait(0.1):
                try:
                    connection.sendall(b"X: y\r\n")
                except OSError:
                    return

    threading.Thread(target=drip, daemon=True).start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    began = time.monotonic()
    hook = SlackWebhook(url, Wire(0.5))
    ((_, outcome),) = dispatch([_letter("hook", "k")], {"hook": hook}, NOW, 1)
    assert (outcome.result, outcome.reason) == (Result.FAILED_FOR_NOW, "no answer in time")
    assert time.monotonic() - began < 1.3
    is_over.set()
    server.close()
