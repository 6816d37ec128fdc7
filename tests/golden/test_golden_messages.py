"""The bytes of every kind of message are those on file: nodes of one protocol understand each other."""

import pytest

from marl.wire.message import Kind
from tests.golden.conversation import said
from tests.golden.files import stored


def test_every_message_has_the_bytes_on_file() -> None:
    expected, found = stored("messages"), said()
    assert found.keys() == expected.keys()
    for name, messages in found.items():
        for number, (ours, theirs) in enumerate(zip(messages, expected[name], strict=True)):
            assert ours == theirs, f"message {number} of {name}"


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_kind_is_said(kind: Kind) -> None:
    assert any(each["header"]["kind"] == kind for messages in stored("messages").values() for each in messages)
