"""The landing folder: what is taken, how a file is named and divided, lines in bounded memory."""

import gzip
import io
import random

import pyarrow as pa
import pytest

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.ingestion import landing
from clinical_lakehouse.ingestion.landing import bins, find, lines, survey


def test_only_fhir_files_are_taken_and_the_others_are_named(tmp_path):
    taken = ["a.ndjson", "b.ndjson.gz", "b.ndjson.zst", "sub/c.json", "sub/d.json.gz"]
    ignored = [
        "truth.json",
        "manifest.json",
        "log.ndjson",
        "log.ndjson.gz",
        "LICENSE",
        "x.md",
        ".tmp.ndjson",
    ]
    for name in [*taken, *ignored, "_temporary/e.ndjson"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    found = find(tmp_path)
    assert found.names == tuple(taken)
    assert set(found.ignored) == {*ignored, "_temporary/e.ndjson"}


def test_missing_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(SourceError, match="no landing folder") as caught:
        find(tmp_path / "none")
    assert "\n" not in str(caught.value)


def test_file_is_known_by_its_name_and_bytes(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(b"{}\n")
    (tmp_path / "b.ndjson").write_bytes(b"{}\n")
    first = survey(tmp_path, "a.ndjson").file_id
    assert first == survey(tmp_path, "a.ndjson").file_id
    assert first != survey(tmp_path, "b.ndjson").file_id
    (tmp_path / "a.ndjson").write_bytes(b"{}\n{}\n")
    assert first != survey(tmp_path, "a.ndjson").file_id


def test_empty_lines_are_counted_as_ignored(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(b"{}\r\n\n  \t\n{}")
    file = survey(tmp_path, "a.ndjson")
    assert (file.line_count, file.ignored_count) == (2, 2)


PACKERS = {
    "a.ndjson": lambda content: content,
    "a.ndjson.gz": gzip.compress,
    "a.ndjson.zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
}


@pytest.mark.parametrize("name", PACKERS)
def test_chunks_cover_every_line_once_whatever_their_size(tmp_path, monkeypatch, name):
    monkeypatch.setattr(landing, "CHUNK_BYTES", 100)
    content = b"".join(b'{"n":%d}\n' % number for number in range(200))
    (tmp_path / name).write_bytes(PACKERS[name](content))
    file = survey(tmp_path, name)
    read = []
    for chunk in file.chunks:
        with landing.opened(tmp_path / name) as stream:
            if chunk.offset:
                stream.seek(chunk.offset)
            own = (
                (number, line)
                for number, at, line in lines(stream, chunk.first_line)
                if at < chunk.length or name != "a.ndjson"
            )
            read += list(own)
    assert (len(file.chunks) == 1) == (name != "a.ndjson")
    assert read == [(number + 1, b'{"n":%d}\n' % number) for number in range(200)]


def test_line_over_the_limit_is_skipped_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr(landing, "MAX_LINE_BYTES", 10)
    stream = io.BytesIO(b"x" * 25 + b"\nshort\n" + b"y" * 9 + b"\n")
    assert [(n, line) for n, _, line in lines(stream)] == [
        (1, "too-large"),
        (2, b"short\n"),
        (3, b"y" * 9 + b"\n"),
    ]


def test_lines_end_at_newline_only():
    stream = io.BytesIO("a\u2028b\x0bc\rd\n".encode())
    assert len(list(lines(stream))) == 1


@pytest.mark.parametrize("name", list(PACKERS)[1:])
def test_damaged_archive_gives_what_can_be_read_and_one_refusal(tmp_path, name):
    # More than one block of Zstandard (128 KiB): a block is read whole or not at all.
    noise = random.Random(1).randbytes(600_000).hex().encode()
    content = b"".join(noise[at : at + 100] + b"\n" for at in range(0, len(noise), 100))
    (tmp_path / name).write_bytes(PACKERS[name](content)[:400_000])
    with landing.opened(tmp_path / name) as stream:
        read = [line for _, _, line in lines(stream)]
    assert read[-1] == "damaged-file"
    assert len(read) > 100
    assert survey(tmp_path, name).line_count == len(read)


def test_a_file_that_is_no_archive_at_all_is_one_refusal(tmp_path):
    (tmp_path / "a.ndjson.zst").write_bytes(b'{"resourceType": "Patient"}\n')
    with landing.opened(tmp_path / "a.ndjson.zst") as stream:
        assert [line for _, _, line in lines(stream)] == ["damaged-file"]


def test_zstandard_in_two_frames_is_read_to_its_end_in_little_memory(tmp_path):
    pack = PACKERS["a.ndjson.zst"]
    half = b"%s\n" % (b"x" * 99) * 400_000  # 40 MB in a few kB
    (tmp_path / "a.ndjson.zst").write_bytes(pack(half) + pack(half))
    before = pa.total_allocated_bytes()
    with landing.opened(tmp_path / "a.ndjson.zst") as stream:
        count = sum(1 for _ in lines(stream))
        assert pa.total_allocated_bytes() - before < 8 << 20
    assert count == 800_000


def test_bins_hold_every_chunk_in_order_and_stay_small(tmp_path):
    chunks = [landing.Chunk("f", "p", 0, 8 << 20, number) for number in range(50)]
    packed = bins(chunks)
    assert [chunk for one in packed for chunk in one] == chunks
    assert max(sum(chunk.length for chunk in one) for one in packed) <= 40 << 20
    assert bins([]) == ()
