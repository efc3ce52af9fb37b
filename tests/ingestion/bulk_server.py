"""A FHIR server with Bulk Data export on 127.0.0.1, by the IG 2.0, with faults to switch on."""

import gzip
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import jwt
import orjson

FOREVER = 10**6
EXPORTS = re.compile(r"/fhir/(?:(Patient|Group/(?P<group>[^/]+))/)?\$export")


class BulkServer:
    """What the server holds and has seen. `faults` counts how often each is still to happen:

    error_500, busy_429, expired, missing, truncated, wrong_count, slow, token_expiry; and
    cut (the connection ends in mid-file), failing (the export fails), forgotten (its status is
    gone).
    """

    def __init__(self, resources: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        self.resources = list(resources)
        self.groups: dict[str, set[str]] = {}
        self.deletions: list[Mapping[str, Any]] = []
        self.messages: list[Mapping[str, Any]] = []
        self.faults: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.exports: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        self.tokens: dict[str, datetime] = {}
        self.issued = 0
        self.assertions: list[dict[str, Any]] = []
        self.polls, self.retry_after, self.token_seconds = 1, "1", 300
        self.clients: dict[str, Any] = {}  # client_id -> public key
        self.needs_token = self.has_ranges = self.file_token = self.has_counts = True
        self.packs = False
        self.stall_seconds = 1.0
        self.now = lambda: datetime.now(UTC)
        self.lock = threading.Lock()
        self.base = ""
        for name, value in settings.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def happens(self, fault: str) -> bool:
        with self.lock:
            is_due = self.faults[fault] > 0
            self.faults[fault] -= is_due
            self.happened[fault] += is_due
            return is_due

    def asked(self, method: str, part: str) -> list[tuple[str, dict[str, str]]]:
        return [(path, headers) for m, path, headers in self.seen if m == method and part in path]

    def issue_token(self) -> str:
        self.issued += 1
        token = f"token-{self.issued}"
        self.tokens[token] = self.now() + timedelta(seconds=self.token_seconds)
        return token

    def accepts(self, header: str) -> bool:
        ends = self.tokens.get(header.removeprefix("Bearer "))
        return ends is not None and self.now() < ends

    def chosen(self, query: Mapping[str, list[str]], group: str | None) -> dict[str, list[Any]]:
        """Resources by type that an export holds."""
        types = query.get("_type", [""])[0].split(",")
        since = datetime.fromisoformat(query["_since"][0]) if "_since" in query else None
        found: dict[str, list[Any]] = {}
        for one in self.resources:
            person = one["id"] if one["resourceType"] == "Patient" else _person(one)
            is_new = not since or datetime.fromisoformat(one["meta"]["lastUpdated"]) > since
            is_member = group is None or person in self.groups[unquote(group)]
            if is_new and is_member and (types == [""] or one["resourceType"] in types):
                found.setdefault(one["resourceType"], []).append(one)
        return found

    def started(self, path: str, group: str | None) -> str:
        query = parse_qs(urlsplit(path).query)
        id_, chosen = f"e{len(self.exports)}", self.chosen(query, group)
        files = [("output", name, rows) for name, rows in chosen.items()]
        files += [("deleted", "Bundle", self.deletions)] if self.deletions else []
        files += [("error", "OperationOutcome", self.messages)] if self.messages else []
        self.exports[id_] = {
            "files": [(kind, name, _ndjson(rows), len(rows)) for kind, name, rows in files],
            "polls": self.polls,
            "query": dict(query),
            "at": self.now(),
        }
        return id_

    def manifest(self, id_: str) -> dict[str, Any]:
        lists: dict[str, Any] = {"output": [], "deleted": [], "error": []}
        for number, (kind, name, _, count) in enumerate(self.exports[id_]["files"]):
            item = {"type": name, "url": f"{self.base}/files/{id_}/{number}?sig=S3CRET"}
            if self.has_counts and kind == "output":
                item["count"] = count + self.happens("wrong_count")
            lists[kind].append(item)
        return {
            "transactionTime": self.exports[id_]["at"].isoformat().replace("+00:00", "Z"),
            "request": f"{self.base}/fhir/$export",
            "requiresAccessToken": self.needs_token and self.file_token,
            **lists,
        }


def _person(resource: Mapping[str, Any]) -> str:
    return resource.get("subject", {}).get("reference", "/").split("/")[1]


def _ndjson(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *args: Any) -> None:
        pass

    @property
    def bulk(self) -> BulkServer:
        return self.server.bulk

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        issue = {"severity": "error", "code": code, "diagnostics": "Patient Zaphod Beeblebrox"}
        self.answer(status, {"resourceType": "OperationOutcome", "issue": [issue]}, **headers)

    def is_let_in(self, needs: bool = True) -> bool:
        self.bulk.seen.append((self.command, self.path, dict(self.headers)))
        token = self.headers.get("Authorization", "")
        if needs and self.bulk.needs_token and not self.bulk.accepts(token):
            self.refuse(401, "login")
            return False
        if self.command == "GET" and self.bulk.happens("error_500"):
            self.refuse(500, "transient")
            return False
        if self.command == "GET" and self.bulk.happens("busy_429"):
            self.refuse(429, "throttled", Retry_After=self.bulk.retry_after)
            return False
        return True

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if found := EXPORTS.fullmatch(path):
            self.kick_off(found["group"])
        elif path.startswith("/fhir/status/"):
            self.status(path.rsplit("/", 1)[1])
        else:
            self.file(*path.split("/")[-2:])

    def kick_off(self, group: str | None) -> None:
        if not self.is_let_in():
            return
        asked = (self.headers.get("Prefer"), self.headers.get("Accept"))
        if asked != ("respond-async", "application/fhir+json"):
            self.refuse(400, "invalid")
        elif group and unquote(group) not in self.bulk.groups:
            self.refuse(404, "not-found")
        else:
            id_ = self.bulk.started(self.path, group)
            self.answer(202, Content_Location=f"{self.bulk.base}/fhir/status/{id_}")

    def status(self, id_: str) -> None:
        if not self.is_let_in():
            return
        export = self.bulk.exports[id_]
        if id_ in self.bulk.deleted or self.bulk.happens("forgotten"):
            self.refuse(404, "not-found")
        elif export["polls"] > 0:
            export["polls"] -= 1
            self.answer(202, Retry_After=self.bulk.retry_after, X_Progress="50% of Zaphod")
        elif self.bulk.happens("failing"):
            self.refuse(422, "processing")
        else:
            self.answer(200, self.bulk.manifest(id_), Content_Type="application/json")

    def do_DELETE(self) -> None:
        if self.is_let_in():
            self.bulk.deleted.append(self.path.rsplit("/", 1)[1])
            self.answer(202)

    def file(self, id_: str, number: str) -> None:
        if not self.is_let_in(self.bulk.file_token):
            return
        body = self.bulk.exports[id_]["files"][int(number)][2]
        if id_ in self.bulk.deleted or self.bulk.happens("expired"):
            self.refuse(410, "expired")
        elif self.bulk.happens("missing"):
            self.refuse(404, "not-found")
        else:
            body = body[: len(body) * 2 // 3 - 7] if self.bulk.happens("truncated") else body
            self.send_file(gzip.compress(body, mtime=0) if self.bulk.packs else body)

    def send_file(self, body: bytes) -> None:
        first = 0
        if self.bulk.has_ranges and (asked := self.headers.get("Range")):
            assert self.headers.get("If-Range") in (None, '"v1"')
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if first > len(body) or (first and first == len(body)):
            return self.refuse(416, "value")
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if self.bulk.has_ranges:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"v1"')
        if self.bulk.packs:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.send_body(body[first:])
        return None

    def send_body(self, body: bytes) -> None:
        half = len(body) // 2
        faults = ("slow", "cut", "token_expiry") if len(body) > 1_000 else ()
        fault = next((name for name in faults if self.bulk.happens(name)), None)
        self.wfile.write(body[:half] if fault else body)
        self.wfile.flush()
        if fault == "slow":
            time.sleep(self.bulk.stall_seconds)
            self.wfile.write(body[half:])
        elif fault:
            if fault == "token_expiry":
                self.bulk.tokens.clear()
            self.close_connection = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(parse_qsl(raw))
        self.bulk.seen.append(("POST", self.path, form))
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        try:
            assert form["grant_type"] == "client_credentials"
            assert form["client_assertion_type"] == kind
            claims = self.verified(form["client_assertion"])
        except (AssertionError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
            return self.answer(400, {"error": "invalid_client"})
        self.bulk.assertions.append(claims)
        lives = self.bulk.token_seconds
        token = self.bulk.issue_token()
        said = {"access_token": token, "token_type": "bearer", "expires_in": lives}
        return self.answer(200, said)

    def verified(self, assertion: str) -> dict[str, Any]:
        """SMART App Launch 2.0, client-confidential-asymmetric: what a server must check."""
        claimed = jwt.decode(assertion, options={"verify_signature": False})
        key = self.bulk.clients[claimed["iss"]]
        claims = jwt.decode(
            assertion,
            key,
            algorithms=["RS384", "ES384"],
            audience=f"{self.bulk.base}/token",
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "jti", "sub"]},
        )
        left = claims["exp"] - self.bulk.now().timestamp()
        assert claims["sub"] == claims["iss"]
        assert 0 < left <= 300
        assert claims["jti"] not in [old["jti"] for old in self.bulk.assertions]
        return {**claims, **jwt.get_unverified_header(assertion)}


@contextmanager
def serving(bulk: BulkServer) -> Iterator[BulkServer]:
    """The server, answering until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.bulk = bulk
    bulk.base = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield bulk
    finally:
        http.shutdown()
        http.server_close()
