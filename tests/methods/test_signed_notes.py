"""Signed notes against the published example; an altered text, name or key opens none."""

import base64

import pytest

from clinical_lakehouse.methods.signed_notes import (
    checkpoint,
    read_checkpoint,
    read_verifier,
    signed,
    text_of,
    verifier_of,
)

# The example of golang.org/x/mod/sumdb/note, whose format C2SP's signed-note is.
_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdn"
    "gotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_example_comes_out_byte_by_byte():
    assert str(verifier_of("PeterNeumann", _SEED)) == _VERIFIER
    assert signed(_TEXT, "PeterNeumann", _SEED) == f"{_TEXT}\n{_LINE}"


def test_a_note_is_opened_by_its_signer_alone():
    note = signed(_TEXT, "PeterNeumann", _SEED)
    verifier = read_verifier(_VERIFIER)
    assert text_of(note, verifier) == _TEXT
    assert text_of(note, verifier_of("PeterNeumann", bytes(32))) is None
    assert text_of(note, verifier_of("Someone", _SEED)) is None


@pytest.mark.parametrize(
    "altered",
    [
        _TEXT.replace("answer", "anther") + "\n" + _LINE,
        _TEXT + "\n" + _LINE.replace("x08go/Z", "x08go/Y"),
        _TEXT + "\n" + _LINE.replace("\u2014 ", "- "),
        _TEXT,
        "",
    ],
)
def test_an_altered_note_opens_nothing(altered):
    assert text_of(altered, read_verifier(_VERIFIER)) is None


@pytest.mark.parametrize("wrong", ["", "a+b+c", _VERIFIER.replace("c74f", "c74e")])
def test_a_verifier_that_was_mistyped_is_none(wrong):
    assert read_verifier(wrong) is None


def test_a_checkpoint_says_size_and_root_of_its_log():
    text = checkpoint("lake/audit", 7, bytes(32))
    assert read_checkpoint(text, "lake/audit") == (7, bytes(32))
    assert read_checkpoint(text, "other/audit") is None
    assert read_checkpoint("lake/audit\nx\ny\n", "lake/audit") is None
