"""The page behind a page's link: it asks (GET), and a press of its button acknowledges (POST).

Mail scanners follow links, so a GET changes nothing. TLS and the name people reach it by are a
reverse proxy's; here it listens on this machine alone unless told otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from clinical_lakehouse.alerting.messages.acknowledgement import (
    Acknowledgement,
    load_links,
    verify,
)
from clinical_lakehouse.errors import LakehouseError, SettingsError, UsageError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.events import Listener
from clinical_lakehouse.local.listening import listening_at
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.workspace import Workspace, open_workspace
from clinical_lakehouse.rendering.question import render_question
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.secrets import referred_secret
from clinical_lakehouse.tables.conf import conf_dir

Answer = tuple[int, bytes]
_WHY = "by the link of a page"


@dataclass(frozen=True)
class Desk:
    """Answers requests with the lake open; one at a time."""

    workspace: Workspace
    keys: tuple[bytes, ...]
    lock: Lock

    def ask(self, text: str) -> Answer:
        """What a link shows before anything is done."""
        found, refusal = self._read(text)
        if found is None:
            return refusal
        said = f"Nobody is paged of alert {found.alert_id[:12]} any more unless it gets worse."
        return 200, render_question(f"Take this alert, {found.person}?", said, "I take it")

    def take(self, text: str) -> Answer:
        """Acknowledge: with the alert's table written, pages that wait are not sent."""
        found, refusal = self._read(text)
        if found is None:
            return refusal
        given = {"decision": "ack", "alert": found.alert_id, "by": found.person, "why": _WHY}
        given |= {"nonce": found.nonce, "episode": found.episode}
        with self.lock:
            done = self.workspace.run(Request("alert_decision", given))
        if done.ok:
            return 200, render_question("It is yours", "Nobody else is paged of this alert.")
        why = next((task.message for task in done.tasks.values() if task.message), done.message)
        return 409, render_question("Nothing was changed", why)

    def _read(self, text: str) -> tuple[Acknowledgement | None, Answer]:
        try:
            return verify(self.keys, text, wall_clock(), lambda nonce: False), (200, b"")
        except (UsageError, ValueError) as error:
            said = str(error) if isinstance(error, UsageError) else "This link is damaged."
            return None, (403, render_question("This link does not work", said))


def serve(root: Path, env: str, place: tuple[str, int], listen: Listener,
          ready: Callable[[str], None]) -> None:  # fmt: skip
    """Answer links until Ctrl-C; `ready` is told the address.

    SettingsError where conf/alerting/channels.yml has no `acknowledgement` or its key is missing,
    UsageError where the address is taken.
    """
    links = load_links(conf_dir())
    if links is None:
        raise SettingsError("conf/alerting/channels.yml has no acknowledgement; see its comment")
    workspace = open_workspace(load_bundle(env), root, listen)
    run = Run(workspace.lake, workspace.settings, wall_clock(), "links")
    key = referred_secret(run, links.secret, "acknowledgement of conf/alerting/channels.yml")
    desk = Desk(workspace, (key.encode(),), Lock())
    with listening_at(place):
        server = ThreadingHTTPServer(place, handler(desk))
    with server:
        ready(f"http://{place[0]}:{server.server_address[1]}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def handler(desk: Desk) -> type[BaseHTTPRequestHandler]:
    """How a server answers: GET asks, POST takes; the token is the parameter `t`."""

    class Handler(BaseHTTPRequestHandler):
        """One request; nothing is logged, for an address holds a key."""

        timeout = 10

        def do_GET(self) -> None:
            """Ask."""
            self._answer(desk.ask)

        def do_POST(self) -> None:
            """Acknowledge."""
            self._answer(desk.take)

        def _answer(self, way: Callable[[str], Answer]) -> None:
            given = parse_qs(urlsplit(self.path).query).get("t", [""])[0]
            try:
                status, page = way(given)
            except LakehouseError as error:
                status, page = 503, render_question("Not now", str(error))
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
