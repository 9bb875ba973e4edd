"""permessage-deflate: what is agreed on, messages both ways, and what a compressed message may not do (RFC 7692)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State
from websockets.uri import parse_uri

from dddp.transport import Batch, Limits, Server
from dddp.transport.deflate import CannotInflate, inflate
from dddp.transport.frames import EMPTY_BLOCK, DeflatedFrames, text_frames
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
    UPGRADE,
    Client,
    RecordingApplication,
    frame,
    serving,
    silence,
    text,
    until,
)

MESSAGE_LIMIT = 100_000
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = "a document with many words, and many words again " * 20


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def server(application: RecordingApplication) -> Iterator[Server]:
    limits = Limits(message=MESSAGE_LIMIT, closing=0.2)
    with serving(application, limits=limits, deflate_from=64) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client.upgrade(OFFER)


def deflated(data: str | bytes, **options: int) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    compressor = zlib.compressobj(wbits=-15, **options)
    return (compressor.compress(raw) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(EMPTY_BLOCK)


def compressed(data: str | bytes, opcode: int = TEXT) -> bytes:
    return frame(opcode, deflated(data), reserved=RSV1)


# What is agreed on


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; client_max_window_bits=10", f"{ANSWER}; client_max_window_bits=10"),
        ("permessage-deflate; server_no_context_takeover", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", f"{ANSWER}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=12", f"{ANSWER}; server_max_window_bits=12"),
        ('permessage-deflate; client_max_window_bits="10"', f"{ANSWER}; client_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=11, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=012", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; unknown, permessage-deflate", ANSWER),
        ("x-webkit-deflate-frame", None),
        ("x-first, permessage-deflate, permessage-deflate", ANSWER),
    ],
)
def test_offer_is_answered(server: Server, offer: str, answer: str | None) -> None:
    """A window smaller than the one all messages are compressed with is declined (RFC 7692 section 7.1)."""
    with Client(server) as client:
        status, headers = client.request(
            "GET /websocket HTTP/1.1", *UPGRADE, f"Sec-WebSocket-Extensions: {offer}"
        )

    assert status == "HTTP/1.1 101 Switching Protocols"
    assert headers.get("sec-websocket-extensions") == answer


@pytest.mark.parametrize("header", ["permessage deflate", ";", "permessage-deflate; =1", "a; b=c d", ","])
def test_extensions_that_are_no_list_are_refused(server: Server, header: str) -> None:
    """RFC 6455 section 9.1."""
    with Client(server) as client:
        status, _ = client.request("GET /websocket HTTP/1.1", *UPGRADE, f"Sec-WebSocket-Extensions: {header}")

    assert status == "HTTP/1.1 400 Bad Request"


def test_offers_in_several_headers_are_one_list(server: Server) -> None:
    with Client(server) as client:
        _, headers = client.request(
            "GET /websocket HTTP/1.1", *UPGRADE, "Sec-WebSocket-Extensions: x-other", OFFER
        )

    assert headers["sec-websocket-extensions"] == ANSWER


def test_compression_that_is_off_is_not_agreed_on(application: RecordingApplication) -> None:
    with serving(application, deflate_from=None) as server, Client(server) as client:
        _, headers = client.request("GET /websocket HTTP/1.1", *UPGRADE, OFFER)
        assert "sec-websocket-extensions" not in headers

        client.send(compressed("a"))
        assert client.read_close()[0] == 1002


# Messages out


def test_message_from_the_threshold_on_is_compressed(
    client: Client, application: RecordingApplication
) -> None:
    application.last.channel.send(b"a" * 63)
    application.last.channel.send(b"a" * 64)

    assert client.read() == (TEXT, b"a" * 63)
    assert client.file.read(1) == b"\xc1"
    assert inflate(client.file.read(client.file.read(1)[0]), 64) == b"a" * 64


def test_message_that_gets_no_smaller_is_not_compressed(
    client: Client, application: RecordingApplication
) -> None:
    noise = bytes(random.Random(1).sample(range(32, 127), 80))
    application.last.channel.send(noise)

    assert client.read() == (TEXT, noise)


def test_batch_is_compressed_once_for_all(server: Server, application: RecordingApplication) -> None:
    """The bytes that go to every client that compresses are the same object."""
    with Client(server) as one, Client(server) as two, Client(server) as plain:
        one.upgrade(OFFER)
        two.upgrade(OFFER)
        plain.upgrade()
        until(lambda: len(application.receivers) == 3)
        batch = Batch([LONG.encode()])
        for receiver in application.receivers:
            receiver.channel.send_batch(batch)

        assert len(batch._encoded) == 2
        assert [one.file.read(1), two.file.read(1)] == [b"\xc1", b"\xc1"]
        assert plain.read() == (TEXT, LONG.encode())


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000, 65536, 1_000_000])
def test_what_is_compressed_is_read_by_others(size: int) -> None:
    message = (LONG * (size // len(LONG) + 1)).encode()[:size]
    frames = DeflatedFrames(64)((message, b"{}"))

    assert frames.endswith(text_frames((b"{}",)))
    assert len(frames) <= len(text_frames((message, b"{}")))


@pytest.mark.parametrize(
    "options", [{}, {"server_max_window_bits": 12}, {"client_max_window_bits": 9}], ids=str
)
def test_messages_both_ways_with_another_implementation(server: Server, options: dict[str, Any]) -> None:
    other = ClientProtocol(
        parse_uri("ws://localhost/websocket"), extensions=[ClientPerMessageDeflateFactory(**options)]
    )
    other.send_request(other.connect())
    with Client(server) as client:
        for message in ("", "short", LONG, LONG * 50, "höla" * 500):
            until_open(client, other)
            other.send_text(message.encode())
            assert [event.data for event in exchange(client, other)] == [message.encode()]
    assert [extension.name for extension in other.extensions] == ["permessage-deflate"]


def until_open(client: Client, other: ClientProtocol) -> None:
    while other.state is State.CONNECTING:
        exchange(client, other)


def exchange(client: Client, other: ClientProtocol) -> list[Any]:
    """Send what the other implementation wants sent, and give it what comes until it understands something."""
    client.send(*other.data_to_send())
    while True:
        other.receive_data(client.socket.recv(65536))
        if events := other.events_received():
            return events


# Messages in


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_compressed_message_is_received(
    client: Client, application: RecordingApplication, opcode: int
) -> None:
    client.send(compressed("höla", opcode))

    assert client.read() == (TEXT, "höla".encode())


def test_compressed_and_plain_messages_alternate(client: Client) -> None:
    client.send(compressed("one"), text("two"), compressed("three"))

    assert [client.read()[1] for _ in range(3)] == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "payload",
    [b"\x00", b"\x02\x00", b"\x03\x00", b"\x01\x00\x00\xff\xff\x00", b"", b"\x00" + EMPTY_BLOCK + b"\x00"],
    ids=bytes.hex,
)
def test_empty_compressed_message_is_received(client: Client, payload: bytes) -> None:
    """However it is written: an empty stored block, an empty fixed block, a last block, no block at all."""
    client.send(frame(TEXT, payload, reserved=RSV1))

    assert client.read() == (TEXT, b"")


@pytest.mark.parametrize(
    "payload",
    [
        "f248cdc9c90700",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f2480500 0000ffff cac9c90700",
    ],
)
def test_examples_of_the_specification_are_received(client: Client, payload: str) -> None:
    """RFC 7692 section 7.2.3: one block, a stored one, a last one, two blocks. All say Hello."""
    client.send(frame(TEXT, bytes.fromhex(payload), reserved=RSV1))

    assert client.read() == (TEXT, b"Hello")


@pytest.mark.parametrize("level", range(10))
def test_message_of_any_level_is_received(client: Client, level: int) -> None:
    client.send(frame(TEXT, deflated(LONG, level=level), reserved=RSV1))
    opcode, _ = client.file.read(2)

    assert opcode == 0xC1


def test_fragments_of_a_compressed_message_are_put_together(
    client: Client, application: RecordingApplication
) -> None:
    """Only the first frame has the bit (RFC 7692 section 6.1); control frames come in between."""
    application.answer = silence
    data = deflated(LONG)
    client.send(
        frame(TEXT, data[:1], fin=False, reserved=RSV1),
        frame(PING, b"still here?"),
        *(frame(CONT, data[at : at + 1], fin=False) for at in range(1, len(data))),
        frame(CONT),
    )

    assert client.read() == (PONG, b"still here?")
    until(lambda: application.last.texts == [LONG])


def test_fragments_of_a_plain_message_between_compressed_ones(client: Client) -> None:
    client.send(compressed("one"), text("t", fin=False), frame(CONT, b"wo"), compressed("three"))

    assert [client.read()[1] for _ in range(3)] == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(frame(PING, b"", reserved=RSV1), id="ping"),
        pytest.param(frame(PONG, b"", reserved=RSV1), id="pong"),
        pytest.param(frame(CLOSE, b"", reserved=RSV1), id="close"),
        pytest.param(
            frame(TEXT, b"\x02", fin=False, reserved=RSV1) + frame(CONT, b"\x00", reserved=RSV1),
            id="continuation",
        ),
        pytest.param(
            text("a", fin=False) + frame(CONT, deflated("b"), reserved=RSV1),
            id="continuation-of-a-plain-message",
        ),
        pytest.param(frame(TEXT, deflated("a"), reserved=RSV1 | RSV2), id="rsv2"),
        pytest.param(frame(TEXT, deflated("a"), reserved=RSV1 | RSV3), id="rsv3"),
        pytest.param(frame(TEXT, b"a", reserved=RSV2), id="rsv2-alone"),
    ],
)
def test_bit_out_of_place_closes_1002(
    client: Client, application: RecordingApplication, frames: bytes
) -> None:
    client.send(frames, text("never"))

    assert client.read_close()[0] == 1002
    assert application.last.texts == []


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff\xff\xff", id="no-such-block"),
        pytest.param(b"\x00\x05\x00\x00\x00Hello", id="wrong-length"),
        pytest.param(b"\x4a\x04\x62", id="too-far-back"),
        pytest.param(bytes.fromhex("f348cdc9c9070000") + deflated("more"), id="behind-the-last-block"),
        pytest.param(deflated(LONG)[:20] + b"\xff" * 20, id="corrupt-in-the-middle"),
    ],
)
def test_corrupt_data_closes_1007(client: Client, application: RecordingApplication, payload: bytes) -> None:
    client.send(frame(TEXT, payload, reserved=RSV1), text("never"))

    assert client.read_close()[0] == 1007
    assert application.last.texts == []


def test_compressed_text_that_is_not_utf8_closes_1007(client: Client) -> None:
    client.send(compressed(b"\xff"))

    assert client.read_close()[0] == 1007


def test_no_context_is_taken_over(client: Client) -> None:
    """A message that refers to the one before it is corrupt: client_no_context_takeover was agreed on."""
    compressor = zlib.compressobj(wbits=-15)
    one, two = (
        (compressor.compress(LONG.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)
    )
    client.send(frame(TEXT, one, reserved=RSV1), frame(TEXT, two, reserved=RSV1))
    client.file.read(2 + client.file.peek()[1])

    assert client.read_close()[0] == 1007


# Limits


def test_message_at_the_limit_is_received(client: Client, application: RecordingApplication) -> None:
    application.answer = silence
    client.send(compressed("x" * MESSAGE_LIMIT))

    until(lambda: application.last.texts == ["x" * MESSAGE_LIMIT])


@pytest.mark.parametrize("size", [MESSAGE_LIMIT + 1, 50_000_000])
def test_larger_than_the_limit_when_inflated_closes_1009(
    client: Client, application: RecordingApplication, size: int
) -> None:
    client.send(compressed("x" * size))

    assert client.read_close()[0] == 1009
    assert application.last.texts == []


def test_larger_than_the_limit_in_fragments_closes_1009(client: Client) -> None:
    data = deflated("x" * 50_000_000)
    client.send(frame(TEXT, data[:10], fin=False, reserved=RSV1), frame(CONT, data[10:]))

    assert client.read_close()[0] == 1009


def test_bomb_is_not_inflated_beyond_the_limit() -> None:
    """Of 50 MB no more than the limit and one byte is made."""
    bomb = deflated(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(CannotInflate, match="more than 100000 bytes"):
            inflate(bomb, MESSAGE_LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 * MESSAGE_LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", range(95, 106))
def test_limit_is_exact(size: int) -> None:
    """Also where the last bytes come out only with the block that is not sent."""
    data = deflated(bytes(size))
    if size <= 100:
        assert inflate(data, 100) == bytes(size)
    else:
        with pytest.raises(CannotInflate):
            inflate(data, 100)
