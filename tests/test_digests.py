"""One digest for what travels, one for what is kept, and keys where others could change either."""

import blake3
import pytest
import xxhash

from marl.digests import begin_name, keyed_name_of, name_of, traffic_digest

KEY, OTHER = bytes(range(32)), bytes(32)
CONTENT = bytes(range(256)) * 1000


def hashed(key: bytes | None, *, cut: int = 1 << 20) -> bytes:
    hashing = traffic_digest(key)
    for start in range(0, len(CONTENT), cut):
        hashing.update(memoryview(CONTENT)[start : start + cut])
    return hashing.digest()


def test_a_link_that_authenticates_its_bytes_takes_the_fast_one() -> None:
    assert hashed(None) == hashed(None, cut=999) == xxhash.xxh3_128_digest(CONTENT)


def test_on_another_link_nobody_without_the_key_makes_it() -> None:
    assert hashed(KEY) == hashed(KEY, cut=999) == blake3.blake3(CONTENT, key=KEY).digest()
    assert len({hashed(KEY), hashed(OTHER), blake3.blake3(CONTENT).digest()}) == 3
    with pytest.raises(ValueError, match="32"):
        traffic_digest(b"too short")


def test_names() -> None:
    assert name_of(CONTENT) == blake3.blake3(CONTENT).hexdigest()
    assert keyed_name_of([CONTENT[:7], b"", CONTENT[7:]], KEY) == blake3.blake3(CONTENT, key=KEY).hexdigest()


def test_a_name_that_is_begun_early_is_the_same() -> None:
    content = bytearray(CONTENT) * 20
    assert begin_name(content).result(10) == name_of(content)
