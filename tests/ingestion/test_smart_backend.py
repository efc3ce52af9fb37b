"""SMART Backend Services: the server verifies our signature; tokens end, keys stay secret."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from clinical_lakehouse.errors import SettingsError, SourceError
from clinical_lakehouse.ingestion.bulk_batch import Batch, bring, cancel
from clinical_lakehouse.ingestion.bulk_export import Scope
from clinical_lakehouse.ingestion.bulk_http import Pace, Patience, Wire
from clinical_lakehouse.ingestion.landing import find
from clinical_lakehouse.ingestion.smart_backend import signing_key, with_tokens
from tests.ingestion.bulk_server import FOREVER, BulkServer, serving
from tests.ingestion.test_bulk_export import Clock, resources

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP384R1())


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(algorithm, key, **fields):
    return json.dumps({**algorithm.to_jwk(key, as_dict=True), **fields})


FORMS = {
    "RS384 PEM": (pem(RSA), "RS384"),
    "RS384 JWK": (jwk(RSAAlgorithm, RSA, alg="RS384"), "RS384"),
    "ES384 PEM": (pem(EC), "ES384"),
    "ES384 JWK": (jwk(ECAlgorithm, EC, alg="ES384"), "ES384"),
}


@pytest.fixture
def bulk():
    """A server that knows two clients by their public keys."""
    with serving(BulkServer(resources(2))) as server:
        server.clients = {"rsa": RSA.public_key(), "ec": EC.public_key()}
        yield server


def wire_to(bulk, text, client, **auth):
    clock = Clock()
    bulk.now = clock.now
    pace = Pace(clock.now, clock.sleep, clock.start + timedelta(hours=2))
    given = {
        "method": "backend_services",
        "client_id": client,
        "token_url": f"{bulk.base}/token",
        "key_id": "k1",
        "scope": "system/*.read",
        **auth,
    }
    return with_tokens(Wire(pace, Patience(retries=2)), given, lambda: text)


def batch_of(bulk, tmp_path):
    return Batch(Scope(f"{bulk.base}/fhir"), None, "id", tmp_path / "landing")


@pytest.mark.parametrize("form", FORMS)
def test_the_server_accepts_our_signature(bulk, tmp_path, form):
    text, algorithm = FORMS[form]
    client_id = "rsa" if algorithm == "RS384" else "ec"
    bring(wire_to(bulk, text, client_id), batch_of(bulk, tmp_path))
    (claims,) = bulk.assertions
    assert (claims["alg"], claims["kid"], claims["sub"]) == (algorithm, "k1", client_id)
    assert bulk.asked("POST", "/token")[0][1]["scope"] == "system/*.read"
    assert len(find(tmp_path / "landing").names) == 2


@pytest.mark.parametrize(("text", "client_id"), [(pem(EC), "rsa"), (pem(RSA), "stranger")])
def test_a_key_the_server_does_not_know_is_refused_in_one_line(bulk, tmp_path, text, client_id):
    with pytest.raises(SourceError, match=r"the token was refused \(HTTP 400\)") as refusal:
        bring(wire_to(bulk, text, client_id), batch_of(bulk, tmp_path))
    assert "PRIVATE" not in str(refusal.value)
    assert bulk.exports == {}


def test_a_token_is_renewed_before_it_ends(bulk, tmp_path):
    bulk.token_seconds, bulk.polls, bulk.retry_after = 100, 10, "60"
    bring(wire_to(bulk, pem(RSA), "rsa"), batch_of(bulk, tmp_path))
    # Asked every 60 s for 600 s; a token is used for 70 s of its 100: every second request.
    assert len(bulk.assertions) == len({claims["jti"] for claims in bulk.assertions}) == 6
    assert len(bulk.asked("GET", "/status/")) == 11  # none was refused


def test_a_token_withdrawn_in_mid_download_is_fetched_once_for_all_threads(bulk, tmp_path):
    bulk.faults["token_expiry"] = 1
    bulk.resources = resources(6)
    result = bring(wire_to(bulk, pem(EC), "ec"), batch_of(bulk, tmp_path))
    assert bulk.happened["token_expiry"] == 1
    assert len(bulk.assertions) == 2
    assert result.received_count == 246


def test_a_stopped_client_gets_a_token_to_say_so(bulk, tmp_path):
    bulk.token_seconds, bulk.polls, bulk.retry_after = 60, FOREVER, "100"
    with pytest.raises(SourceError, match="did not finish in time"):
        bring(wire_to(bulk, pem(RSA), "rsa"), batch_of(bulk, tmp_path))
    assert bulk.deleted == ["e0"]


def test_neither_key_nor_token_is_written_down(bulk, tmp_path):
    wire, batch = wire_to(bulk, pem(RSA), "rsa"), batch_of(bulk, tmp_path)
    bring(wire, batch)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"status_url" in written
    assert b"token-" not in written
    assert b"PRIVATE" not in written
    assert "token-" not in repr(wire)
    assert "PRIVATE" not in repr(wire)
    cancel(wire, batch.draft)


@pytest.mark.parametrize(
    "text",
    [
        "Zaphod",
        "{}",
        '{"kty": "RSA", "n": "Zaphod", "e": "AQAB"}',
        json.dumps({"kty": "oct", "k": "WmFwaG9k"}),
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(65537, 1024)),
        jwk(RSAAlgorithm, RSA.public_key()),
    ],
)
def test_a_key_that_will_not_do_is_refused_without_a_word_of_it(text):
    with pytest.raises(SettingsError, match="RSA of 2048 bits, or EC P-384") as refusal:
        signing_key(text)
    assert "Zaphod" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_key_says_its_own_id():
    assert signing_key(jwk(ECAlgorithm, EC, kid="mine")).key_id == "mine"
    assert signing_key(jwk(ECAlgorithm, EC, kid="mine"), "ours").key_id == "ours"
    assert "ES384" in repr(signing_key(pem(EC)))


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"client_id": None}, "fhir_api.auth.client_id is missing"),
        ({"token_url": None}, "fhir_api.auth.token_url is missing"),
        ({"token_url": "http://auth.example.org/token"}, "must be an https address"),
    ],
)
def test_incomplete_settings_are_refused_by_name(bulk, auth, said):
    with pytest.raises(SettingsError, match=said):
        wire_to(bulk, pem(RSA), "rsa", **auth)
