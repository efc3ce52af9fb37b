"""Merkle trees against the published trees, and against 196 proofs of which most are wrong."""

import base64
import json
import tarfile

import pytest

from clinical_lakehouse.methods.merkle import (
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root,
)

# The eight entries and the roots of the trees of their first n, as published with the reference
# implementation of RFC 6962 (google/certificate-transparency, merkle_tree_test).
_ENTRIES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in _ENTRIES]


@pytest.mark.parametrize("size", range(9))
def test_root_is_the_published_one(size):
    assert root(LEAVES[:size]).hex() == _ROOTS[size]


def _verdict(name, probe):
    if "/inclusion/" in name:
        return is_included(
            base64.b64decode(probe["leafHash"]),
            probe["leafIdx"],
            probe["treeSize"],
            [base64.b64decode(one) for one in probe["proof"] or ()],
            base64.b64decode(probe["root"]),
        )
    return is_consistent(
        probe["size1"],
        probe["size2"],
        base64.b64decode(probe["root1"]),
        base64.b64decode(probe["root2"]),
        [base64.b64decode(one) for one in probe["proof"] or ()],
    )


def test_every_published_probe_gets_its_verdict(public_data):
    wrong, seen = [], 0
    with tarfile.open(public_data("merkle_probes") / "probes.tar.xz") as probes:
        for member in probes:
            if member.isfile():
                probe = json.load(probes.extractfile(member))
                seen += 1
                if _verdict(member.name, probe) == probe["wantErr"]:
                    wrong.append(member.name)
    assert (seen, wrong) == (196, [])


def test_every_proof_of_every_tree_holds_and_for_nothing_else():
    leaves = [leaf_hash(bytes([number])) for number in range(33)]
    for size in range(1, 34):
        tree = root(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(leaves[:size], index)
            assert is_included(leaves[index], index, size, proof, tree)
            assert not is_included(leaves[index - 1], index, size, proof, tree) or size == 1
        for small in range(1, size + 1):
            proof = consistency_proof(leaves[:size], small)
            assert is_consistent(small, size, root(leaves[:small]), tree, proof)
            assert not is_consistent(small, size, leaf_hash(b"other"), tree, proof)


def test_a_proof_outside_of_the_tree_is_refused():
    with pytest.raises(ValueError, match="leaf of the tree"):
        inclusion_proof(LEAVES, 8)
    with pytest.raises(ValueError, match="smaller"):
        consistency_proof(LEAVES, 9)
