"""What conf/alerting says of people, words, escalations, channels and links, read together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from clinical_lakehouse.alerting.audience import Catalogue, load_catalogue, load_labels
from clinical_lakehouse.alerting.channels.reading import ChannelSpec, load_channels
from clinical_lakehouse.alerting.escalation.policy import Policy, load_policies
from clinical_lakehouse.alerting.messages.acknowledgement import LinkConf, load_links
from clinical_lakehouse.alerting.messages.compose import Desk
from clinical_lakehouse.alerting.messages.templates import load_templates
from clinical_lakehouse.alerting.on_call.reading import load_on_call
from clinical_lakehouse.tables.conf import files_as_of_now


@dataclass(frozen=True)
class Office:
    """Everything that it takes to tell people something; `links` is None where pages carry none."""

    desk: Desk
    policies: Mapping[str, Policy]
    catalogue: Catalogue
    channels: Mapping[str, ChannelSpec]
    links: LinkConf | None

    def with_links(self, read: Callable[[str], str]) -> "Office":
        """The office whose pages carry links; `read` gives the key that a reference stands for."""
        if self.links is None:
            return self
        key = read(self.links.secret).encode()
        return replace(self, desk=replace(self.desk, ack_page=self.links.url, ack_key=key))


def load_office(conf: Path) -> Office:
    """Read conf/alerting, again where a file was edited; SettingsError names file and line of the
    first fault."""
    return _read(conf, files_as_of_now(conf / "alerting"))


@lru_cache(maxsize=1)
def _read(conf: Path, _files: tuple[object, ...]) -> Office:
    on_call, channels = load_on_call(conf), load_channels(conf)
    personal = {name: spec.is_personal for name, spec in channels.items()}
    templates = load_templates(conf, load_labels(conf))
    return Office(
        Desk(on_call, templates, personal),
        load_policies(conf, on_call, personal),
        load_catalogue(conf, on_call, personal, templates),
        channels,
        load_links(conf),
    )
