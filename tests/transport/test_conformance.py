"""RFC 6455, section by section: what a server MUST do, and MUST take, with and without compression agreed on.

The handshake (section 4) is in ``test_server``, compression (RFC 7692) in ``test_deflate``.
"""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from dddp.transport import Limits, Server
from tests.transport.peers import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Client,
    RecordingApplication,
    close,
    frame,
    raw,
    serving,
    text,
    until,
)

UNLIMITED = 1 << 30
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def server(application: RecordingApplication) -> Iterator[Server]:
    """What it sends is never compressed, so that it can be compared."""
    limits = Limits(message=200_000, closing=0.2)
    with serving(application, limits=limits, deflate_from=UNLIMITED) as server:
        yield server


@pytest.fixture(params=[(), (DEFLATE,)], ids=["plain", "deflate"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client.upgrade(*request.param)


def fails(client: Client, application: RecordingApplication, code: int, *frames: bytes) -> None:
    """Whatever comes behind a frame that fails the connection is not looked at (7.1.7)."""
    client.send(*frames, text("never"), frame(PING, b"never"), close(1000))

    assert client.read_close()[0] == code
    until(lambda: application.last.ends)
    assert [ended for ended, _ in application.last.ends] == [code]
    assert "never" not in application.last.texts


# 5.1, 5.2: the frame


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONT, CLOSE, PING, PONG])
def test_frame_without_a_mask_fails(client: Client, application: RecordingApplication, opcode: int) -> None:
    fails(client, application, 1002, frame(opcode, b"", mask=False))


@pytest.mark.parametrize("bits", [RSV2, RSV3, RSV2 | RSV3, RSV1 | RSV2, RSV1 | RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONT, CLOSE, PING, PONG])
def test_reserved_bit_fails(
    client: Client, application: RecordingApplication, opcode: int, bits: int
) -> None:
    fails(client, application, 1002, frame(opcode, b"", reserved=bits))


@pytest.mark.parametrize("fin", [0x80, 0])
@pytest.mark.parametrize("opcode", [*range(3, 8), *range(11, 16)])
def test_reserved_opcode_fails(
    client: Client, application: RecordingApplication, opcode: int, fin: int
) -> None:
    fails(client, application, 1002, raw(fin | opcode, b"x"))


def test_reserved_opcode_behind_a_message_fails_after_it(
    client: Client, application: RecordingApplication
) -> None:
    client.send(text("first"), raw(0x83, b""), frame(PING))

    assert client.read() == (TEXT, b"first")
    assert client.read_close()[0] == 1002


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_length_of_each_form_is_read(client: Client, opcode: int, size: int) -> None:
    client.send(frame(opcode, b"x" * size))

    assert client.read() == (TEXT, b"x" * size)


@pytest.mark.parametrize("form", [b"\xfe" + (5).to_bytes(2), b"\xff" + (5).to_bytes(8)])
def test_length_in_a_longer_form_than_it_needs_is_read(client: Client, form: bytes) -> None:
    """The shortest form is the sender's duty; nothing is gained by refusing another."""
    client.send(b"\x81" + form + bytes(4) + b"hello")

    assert client.read() == (TEXT, b"hello")


@pytest.mark.parametrize("size", [200_001, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_length_beyond_the_limit_fails_before_the_data(
    client: Client, application: RecordingApplication, size: int
) -> None:
    client.send(b"\x81\xff" + size.to_bytes(8) + bytes(4))

    assert client.read_close()[0] == 1009


def test_mask_of_zeros_is_a_mask(client: Client) -> None:
    client.send(raw(0x81, b"hello"))

    assert client.read() == (TEXT, b"hello")


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_stream_in_any_pieces_is_read(client: Client, step: int) -> None:
    stream = text("a" * 130) + frame(PING, b"b") + text("c", fin=False) + frame(CONT, b"d")
    for at in range(0, len(stream), step):
        client.send(stream[at : at + step])
        gevent.sleep(0)

    answers = [client.read() for _ in range(3)]
    assert [data for opcode, data in answers if opcode == TEXT] == [b"a" * 130, b"cd"]
    assert (PONG, b"b") in answers


# 5.4: fragments


@pytest.mark.parametrize("sizes", [(1, 1), (0, 0), (0, 5), (5, 0), (0, 0, 1), (126, 70_000, 1), (1,) * 500])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_are_put_together(client: Client, opcode: int, sizes: tuple[int, ...]) -> None:
    *others, last = [bytes((97 + at % 26,)) * size for at, size in enumerate(sizes)]
    first, *middle = others
    client.send(
        frame(opcode, first, fin=False), *(frame(CONT, data, fin=False) for data in middle), frame(CONT, last)
    )

    assert client.read() == (TEXT, b"".join([*others, last]))


def test_control_frames_between_fragments_are_answered_at_once(client: Client) -> None:
    client.send(text("a", fin=False), frame(PING, b"1"))
    assert client.read() == (PONG, b"1")

    client.send(frame(CONT, b"b", fin=False), frame(PONG, b"unasked"), frame(PING, b"2"))
    assert client.read() == (PONG, b"2")

    client.send(frame(CONT, b"c"))
    assert client.read() == (TEXT, b"abc")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param((frame(CONT, b"a"),), id="continuation-of-nothing"),
        pytest.param((frame(CONT, b"a", fin=False),), id="fragment-of-nothing"),
        pytest.param((text("a", fin=False), text("b")), id="message-inside"),
        pytest.param((text("a", fin=False), text("b", fin=False)), id="fragment-inside"),
        pytest.param((text("a", fin=False), frame(BINARY, b"b")), id="binary-inside"),
        pytest.param((text("a", fin=False), frame(PONG), text("b")), id="message-inside-behind-a-pong"),
    ],
)
def test_fragments_out_of_order_fail(
    client: Client, application: RecordingApplication, frames: tuple[bytes, ...]
) -> None:
    fails(client, application, 1002, *frames)


def test_continuation_behind_a_whole_message_fails_after_it(client: Client) -> None:
    client.send(text("a", fin=False), frame(CONT, b"b"), frame(CONT, b"c"))

    assert client.read() == (TEXT, b"ab")
    assert client.read_close()[0] == 1002


def test_close_inside_fragments_is_answered(client: Client, application: RecordingApplication) -> None:
    """With a code that says what is missing; the application hears the client's."""
    client.send(text("a", fin=False), close(1000))

    assert client.read_close()[0] == 1002
    until(lambda: application.last.ends == [(1000, "")])
    assert application.last.texts == []


# 5.5: control frames


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_fragmented_control_frame_fails(
    client: Client, application: RecordingApplication, opcode: int
) -> None:
    fails(client, application, 1002, frame(opcode, b"", fin=False), frame(CONT))


@pytest.mark.parametrize("size", [126, 127, 65536])
@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_above_125_bytes_fails(
    client: Client, application: RecordingApplication, opcode: int, size: int
) -> None:
    fails(client, application, 1002, frame(opcode, b"\x03\xe8" + b"x" * (size - 2)))


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\xff" * 125], ids=len)
def test_ping_is_answered_with_its_payload(client: Client, payload: bytes) -> None:
    """Any bytes, not text only."""
    client.send(frame(PING, payload))

    assert client.read() == (PONG, payload)


def test_pings_are_answered_in_order(client: Client) -> None:
    client.send(*(frame(PING, b"%d" % number) for number in range(10)))

    assert [client.read() for _ in range(10)] == [(PONG, b"%d" % number) for number in range(10)]


@pytest.mark.parametrize("payload", [b"", b"unasked", b"\xff" * 125], ids=len)
def test_pong_is_not_answered(client: Client, payload: bytes) -> None:
    client.send(frame(PONG, payload), frame(PING, b"next"))

    assert client.read() == (PONG, b"next")


# 5.6, 8.1: text


VALID = (
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ud7ff\ue000\ufffd\ufffe",
    "Hello-µ@ßöäüàá-UTF-8!!",
)


@pytest.mark.parametrize("whole", VALID)
def test_text_split_anywhere_is_received(client: Client, whole: str) -> None:
    """Between the bytes of a character too: fragments are no texts."""
    data = whole.encode()
    for at in range(len(data) + 1):
        client.send(text(data[:at], fin=False), frame(CONT, data[at:]))
        assert client.read() == (TEXT, data)


INVALID = (
    b"\x80",
    b"\xbf",
    b"\xfe",
    b"\xff",
    b"\xc0\xaf",  # longer than it needs to be
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",  # five and six bytes
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xf5\x80\x80\x80",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xc3",  # cut off
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3\xc3\xb6",
    b"\xe2\x28\xa1",
)


@pytest.mark.parametrize("invalid", INVALID, ids=bytes.hex)
@pytest.mark.parametrize(("before", "behind"), [(b"", b""), ("κόσμε".encode(), b""), (b"a", b"b")])
def test_invalid_utf8_fails_wherever_it_is_split(
    server: Server, application: RecordingApplication, before: bytes, invalid: bytes, behind: bytes
) -> None:
    data = before + invalid + behind
    for at in range(len(data) + 1):
        with Client(server) as client:
            client.upgrade().send(text(data[:at], fin=False), frame(CONT, data[at:]), text("never"))
            assert client.read_close()[0] == 1007
    assert not any(receiver.texts for receiver in application.receivers)


# 5.5.1, 7: the end


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3001, 3999, 4000, 4321, 4999]
)
def test_close_is_answered_with_its_code(
    client: Client, application: RecordingApplication, code: int
) -> None:
    client.send(close(code, b"because"))

    assert client.read_close() == (code, "because")
    until(lambda: application.last.ends == [(code, "because")])


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535]
)
def test_close_with_an_impossible_code_fails(
    client: Client, application: RecordingApplication, code: int
) -> None:
    fails(client, application, 1002, close(code))


@pytest.mark.parametrize("byte", [b"\x00", b"\x03", b"\xff"])
def test_close_of_one_byte_fails(client: Client, application: RecordingApplication, byte: bytes) -> None:
    fails(client, application, 1002, frame(CLOSE, byte))


def test_close_without_a_code_is_answered_without(client: Client, application: RecordingApplication) -> None:
    client.send(frame(CLOSE))

    assert client.read() == (CLOSE, b"")
    assert client.at_end()
    until(lambda: application.last.ends == [(1005, "")])


@pytest.mark.parametrize("reason", [b"", b"x" * 123, "ö".encode() * 61], ids=len)
def test_close_with_a_reason_is_answered(client: Client, reason: bytes) -> None:
    client.send(close(1000, reason))

    assert client.read_close() == (1000, reason.decode())


@pytest.mark.parametrize("reason", INVALID, ids=bytes.hex)
def test_close_with_a_reason_that_is_no_text_fails(
    client: Client, application: RecordingApplication, reason: bytes
) -> None:
    fails(client, application, 1007, close(1000, reason))


def test_messages_before_a_close_are_answered_before_it(client: Client) -> None:
    client.send(text("a"), text("b"), close(1000))

    assert [client.read(), client.read()] == [(TEXT, b"a"), (TEXT, b"b")]
    assert client.read_close() == (1000, "")


@pytest.mark.parametrize("behind", [text("never"), frame(PING, b"never"), close(1001), b"\xff" * 1000])
def test_nothing_behind_a_close_is_looked_at(
    client: Client, application: RecordingApplication, behind: bytes
) -> None:
    client.send(close(1000), behind)

    assert client.read_close() == (1000, "")
    until(lambda: application.last.ends == [(1000, "")])
    assert application.last.texts == []


def test_close_of_both_at_once_ends_once(client: Client, application: RecordingApplication) -> None:
    """Each side has sent its close frame when it gets the other's; no third one is sent."""
    receiver = application.last
    receiver.channel.close(1001, "leaving")
    client.send(close(1000))

    assert client.read_close() == (1001, "leaving")
    until(lambda: receiver.ends)
    assert receiver.ends == [(1001, "leaving")]


def test_server_hangs_up_first(client: Client, server: Server) -> None:
    """7.1.1: so that it is the client's port that waits in TIME_WAIT no longer than the server's."""
    client.send(close(1000))

    assert client.read_close() == (1000, "")
    assert server.channels
    client.disconnect()
    until(lambda: not server.channels)
