"""The suite's own conf with a mail server of the tests', and what arrives there."""

import email
import shutil
from email.policy import default

import pytest
import yaml

from clinical_lakehouse.tables.conf import conf_dir
from tests.alerting.fault_servers import mail_server


@pytest.fixture
def office(tmp_path, monkeypatch):
    """The suite's own conf, with `email` leading to a mail server of the test's."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    path = tmp_path / "conf" / "alerting" / "channels.yml"
    with mail_server() as server:
        channels = yaml.safe_load(path.read_text())
        channels["channels"]["email"]["port"] = server.port
        path.write_text(yaml.safe_dump(channels))
        monkeypatch.setenv("CLINICAL_CONF_DIR", str(tmp_path / "conf"))
        yield server


def mails(office):
    """What arrived: Message-ID, subject, and the text with its HTML."""
    found = [email.message_from_bytes(raw, policy=default) for _, _, raw in office.messages]
    return [(one["Message-ID"], one["Subject"], "".join(
        part.get_content() for part in one.walk() if part.get_content_maintype() == "text"
    )) for one in found]  # fmt: skip
