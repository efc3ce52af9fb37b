"""Merkle trees of RFC 6962: what a log holds, proved by its root; pure, bytes in, bytes out."""

import hashlib
from collections.abc import Iterator, Sequence

_LEAF, _NODE = b"\x00", b"\x01"
HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of an entry as a leaf (RFC 6962, 2.1)."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of two subtrees as their parent; the prefix keeps a node from passing as a leaf."""
    return hashlib.sha256(_NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of leaf hashes in order; of none, SHA-256 of nothing (RFC 6962, 2.1)."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    # A stack of full subtrees, as the bits of the count; joined from the right, in O(log n) memory.
    stack: list[bytes] = []
    for count, leaf in enumerate(leaves, 1):
        stack.append(leaf)
        while count % 2 == 0:
            stack[-2:] = [node_hash(*stack[-2:])]
            count //= 2
    while len(stack) > 1:
        stack[-2:] = [node_hash(*stack[-2:])]
    return stack[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of the leaf at `index`, from the leaf up (RFC 6962, 2.1.1).

    ValueError for an index outside of the tree.
    """
    if not 0 <= index < len(leaves):
        raise ValueError("a proof is of a leaf of the tree")
    if len(leaves) == 1:
        return []
    cut = _split(len(leaves))
    if index < cut:
        return [*inclusion_proof(leaves[:cut], index), root(leaves[cut:])]
    return [*inclusion_proof(leaves[cut:], index - cut), root(leaves[:cut])]


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Why the tree of the first `size` leaves is a beginning of this one (RFC 6962, 2.1.2).

    ValueError for a size above the tree's; none is needed from an empty or an equal tree.
    """
    if not 0 <= size <= len(leaves):
        raise ValueError("a tree is consistent with a smaller one only")
    return [] if size in (0, len(leaves)) else _subproof(leaves, size, True)


def _subproof(leaves: Sequence[bytes], size: int, is_known: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if is_known else [root(leaves)]
    cut = _split(len(leaves))
    if size <= cut:
        return [*_subproof(leaves[:cut], size, is_known), root(leaves[cut:])]
    return [*_subproof(leaves[cut:], size - cut, False), root(leaves[:cut])]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def is_included(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes
) -> bool:
    """Is `leaf` at `index` of the tree of `size` leaves? (RFC 9162, 2.1.3.2)"""
    if not 0 <= index < size or not leaf:
        return False
    place, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = node_hash(other, found)
            place, last = _past_right_edge(place, last)
        else:
            found = node_hash(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == tree_root


def is_consistent(
    size: int, larger: int, first: bytes, second: bytes, proof: Sequence[bytes]
) -> bool:
    """Is the tree with root `first` and `size` leaves a beginning of that with root `second` and
    `larger` leaves? (RFC 9162, 2.1.4.2) Nothing is proved of an empty tree: that is refused."""
    if not 0 < size <= larger:
        return False
    if size == larger:
        return not proof and first == second
    path = _path(size, first, proof)
    place, last = _past_ones(size - 1, larger - 1)
    old = new = next(path, b"")
    for other in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            old, new = node_hash(other, old), node_hash(other, new)
            place, last = _past_right_edge(place, last)
        else:
            new = node_hash(new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first and new == second


def _path(size: int, first: bytes, proof: Sequence[bytes]) -> Iterator[bytes]:
    """The proof; a tree that is a full subtree of the larger one stands for itself."""
    if proof and size & (size - 1) == 0:
        yield first
    yield from proof


def _past_ones(place: int, last: int) -> tuple[int, int]:
    while place % 2:
        place, last = place >> 1, last >> 1
    return place, last


def _past_right_edge(place: int, last: int) -> tuple[int, int]:
    """On the right edge a node without a sibling rises until it has one."""
    while place % 2 == 0 and place:
        place, last = place >> 1, last >> 1
    return place, last
