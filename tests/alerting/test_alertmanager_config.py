"""An alertmanager.yml is imported; what is not supported is refused by name, file and line."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.alerting.conf_node import in_words, parse_duration
from clinical_lakehouse.alerting.routing.alertmanager_config import read_routing
from clinical_lakehouse.alerting.routing.matchers import parse_matchers
from clinical_lakehouse.alerting.routing.time_intervals import containing
from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.tables.conf import conf_dir

from . import real_alertmanager

GOOD = """\
global:
  resolve_timeout: 10m
route:
  receiver: ops
  group_by: [alertname, site]
  routes:
    - matchers: ['severity="critical"', team=~"a|b"]
      receiver: pager
      continue: true
      mute_time_intervals: [weekend]
receivers:
  - name: ops
    email_configs:
      - to: ops@example.org
  - name: pager
    webhook_configs:
      - {url: 'http://127.0.0.1:9/', max_alerts: 5}
inhibit_rules:
  - source_match: {alertname: cluster_down}
    target_matchers: [alertname!=cluster_down]
    equal: [cluster]
time_intervals:
  - name: weekend
    time_intervals:
      - weekdays: ['friday:saturday']
"""


def read(folder, text: str):
    path = folder / "alertmanager.yml"
    path.write_text(text)
    return read_routing(path)


def test_supported_file_is_read_whole_and_alertmanager_agrees_that_it_is_valid(tmp_path):
    routing = read(tmp_path, GOOD)
    (pager,) = routing.root.routes
    assert pager.matchers == tuple(sorted(parse_matchers('{severity="critical",team=~"a|b"}')))
    assert (pager.receiver, pager.is_continued, pager.group_by) == (
        "pager",
        True,
        {"alertname", "site"},
    )
    ops, hook = (routing.receivers[name] for name in ("ops", "pager"))
    assert (ops.sends_resolved, hook.sends_resolved) == (False, True)
    assert hook.integrations[0].max_alerts == 5
    assert routing.resolve_timeout == timedelta(minutes=10)
    (rule,) = routing.inhibit_rules
    assert (rule.equal, rule.place) == (("cluster",), "alertmanager.yml:19")
    amtool = real_alertmanager.tool("amtool", "prometheus-alertmanager")
    whole = GOOD.replace("resolve_timeout: 10m", "smtp_from: a@b.c\n  smtp_smarthost: h:25")
    (tmp_path / "theirs.yml").write_text(whole)
    subprocess.run([amtool, "check-config", tmp_path / "theirs.yml"], check=True)


REFUSED = [
    ("  resolve_timeout: 10m", "  smtp_from: a@b", "2: smtp_from is not supported here"),
    ("    email_configs:", "    slack_configs:", "13: slack_configs is not supported here"),
    ("max_alerts: 5", "http_config: {}", "17: http_config is not supported here"),
    ("  group_by: [alertname, site]", "  group_by: [a, a]", "5: group_by names a label twice"),
    ("  group_by: [alertname, site]", "  group_by: ['...', a]", "5: group_by must hold either"),
    ("  group_by: [alertname, site]", "  group_interval: 0s", "5: group_interval must be longer"),
    ("  group_by: [alertname, site]", "  match: {a: b}", "5: the root route takes every alert"),
    ("  group_by: [alertname, site]", "  continue: true", "5: the root route has no siblings"),
    ("      receiver: pager", "      receiver: none", "7: receiver 'none' is not among receivers"),
    ("[weekend]", "[night]", "7: 'night' is not among time_intervals"),
    ('team=~"a|b"', 'team=~"("', "7: regular expression '(' is refused by RE2"),
    ('team=~"a|b"', "team", "7: matcher 'team' needs one of"),
    ("continue: true", "continue: maybe", "9: continue must be true or false"),
    ("  - name: pager", "  - name: ops", "15: receiver 'ops' stands here a second time"),
    ("['friday:saturday']", "['sunnday']", "25: a range holds a word or number"),
    ("    equal: [cluster]", "    equals: [cluster]", "21: equals is not supported here"),
    ("receivers:\n", "receiverz:\n", "11: receiverz is not supported here"),
    ("  receiver: ops\n", "", "3: route needs receiver"),
    ("global:", "route: {}\nglobal:", "4 says 'route' a second time"),
]


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_what_is_wrong_is_refused_with_file_and_line(tmp_path, old, new, said):
    assert old in GOOD
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, GOOD.replace(old, new))
    assert str(refused.value).startswith(f"alertmanager.yml:{said}")


def test_shipped_routing_is_valid_for_us_and_for_alertmanager():
    path = conf_dir() / "alerting" / "routing.yml"
    assert read_routing(path).receivers
    amtool = real_alertmanager.tool("amtool", "prometheus-alertmanager")
    subprocess.run([amtool, "check-config", path], check=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1h30m", 5400), ("1d", 86400), ("500ms", 0.5), ("2w", 1209600), ("1m500ms", 60.5)],
)
def test_duration_is_read_as_prometheus_writes_it(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "1m1h", "1m1m", "5 m", "-5m"])
def test_what_is_no_duration_is_none(text):
    assert parse_duration(text) is None


def test_duration_in_words_is_the_same_duration():
    for text in ("1h30m", "1d2h", "5m", "45s", "28d"):
        assert in_words(parse_duration(text)) == text


def intervals(folder, interval: str):
    text = GOOD.replace("      - weekdays: ['friday:saturday']", f"      - {interval}")
    return read(folder, text).intervals


# The examples of Alertmanager's documentation (prometheus.io/docs/alerting/latest/configuration,
# time_interval), and clock changes: on 31 March 2024 Berlin goes from 02:00 to 03:00.
@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("{weekdays: ['monday:wednesday', saturday, sunday]}", "2024-06-26 00:00", "2024-06-27"),
        ("{days_of_month: ['1:5', '-3:-1']}", "2024-06-28 23:59", "2024-06-27 23:59"),
        ("{days_of_month: ['-3:-1']}", "2024-02-27", "2024-02-26"),
        ("{days_of_month: ['31']}", "2024-05-31", "2024-06-30"),
        ("{months: ['1:3', 'may:august', december]}", "2024-08-31", "2024-09-01"),
        ("{years: ['2020:2022', '2030']}", "2022-12-31 23:59", "2023-01-01"),
        ("{times: [{start_time: '17:00', end_time: '24:00'}]}", "2024-06-30 23:59", "2024-07-01"),
        (
            "{times: [{start_time: 10:30, end_time: '11:00'}]}",
            "2024-06-30 10:30",
            "2024-06-30 11:00",
        ),
        (
            "{times: [{start_time: '09:00', end_time: '17:00'}], location: Europe/Berlin}",
            "2024-03-31 07:00",
            "2024-03-30 07:59",
        ),
    ],
)
def test_time_interval_holds_what_its_documentation_says(tmp_path, interval, inside, outside):
    named = intervals(tmp_path, interval)
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (inside, outside)]
    assert [containing(["weekend"], named, at) for at in moments] == ["weekend", None]


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ("{weekdays: ['saturday:sunday']}", "the first not after the last"),
        ("{months: ['13']}", "a month must be"),
        ("{days_of_month: ['0:3']}", "must lie in 1 to 31"),
        ("{days_of_month: ['-1:3']}", "must lie in 1 to 31"),
        ("{times: [{start_time: '24:00', end_time: '02:00'}]}", "split an interval at midnight"),
        ("{times: [{start_time: '9am', end_time: '02:00'}]}", "a time must be in quotes"),
        ("{location: Mars/Base}", "location must be a time zone"),
        ("{hours: [1]}", "hours is not supported here"),
    ],
)
def test_time_interval_that_is_wrong_is_refused_with_its_line(tmp_path, interval, said):
    with pytest.raises(SettingsError, match=f"^alertmanager.yml:25: .*{said}"):
        intervals(tmp_path, interval)
