"""WebSocket peers over real sockets: frames, limits, and every way to end."""

from __future__ import annotations

import logging
import socket as names
from collections.abc import Iterator
from itertools import pairwise

import gevent
import pytest

from dddp.transport import Batch, Limits, Server
from dddp.transport.frames import text_frames
from tests.transport.peers import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Client,
    RecordingApplication,
    RecordingReceiver,
    close,
    frame,
    raw,
    serving,
    silence,
    text,
    until,
)

MESSAGE_LIMIT = 1000


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def server(application: RecordingApplication) -> Iterator[Server]:
    limits = Limits(message=MESSAGE_LIMIT, waiting=256 * 1024, closing=0.2)
    with serving(application, limits=limits) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client.upgrade()


# Messages in


def test_text_is_received(client: Client, application: RecordingApplication) -> None:
    client.send(text("höla"))

    assert client.read() == (TEXT, "höla".encode())
    assert application.last.texts == ["höla"]


def test_binary_counts_as_text(client: Client, application: RecordingApplication) -> None:
    """Binary frames are decoded as text (ddp-wire 1.5)."""
    client.send(frame(BINARY, b"abc"))

    assert client.read() == (TEXT, b"abc")


def test_empty_message_is_received(client: Client, application: RecordingApplication) -> None:
    client.send(text(""))

    assert client.read() == (TEXT, b"")


def test_fragments_become_one_message(client: Client, application: RecordingApplication) -> None:
    """A character may be split between fragments, and a fragment may be empty."""
    client.send(text(b"h\xc3", fin=False), frame(CONT, b"", fin=False), frame(CONT, b"\xb6la"))

    assert client.read() == (TEXT, "höla".encode())
    assert application.last.texts == ["höla"]


def test_ping_between_fragments_is_answered_first(client: Client) -> None:
    client.send(text("a", fin=False), frame(PING, b"now"), frame(CONT, b"b"))

    assert [client.read(), client.read()] == [(PONG, b"now"), (TEXT, b"ab")]


def test_message_split_into_bytes_arrives(client: Client) -> None:
    """Frames may arrive in any pieces."""
    for byte in text("x" * 200):
        client.send(bytes((byte,)))
        gevent.sleep(0)

    assert client.read() == (TEXT, b"x" * 200)


def test_many_messages_keep_their_order(client: Client, application: RecordingApplication) -> None:
    expected = [str(number) for number in range(1000)]

    gevent.spawn(client.send, *map(text, expected))

    assert [client.read()[1].decode() for _ in expected] == expected
    assert application.last.texts == expected


def test_messages_behind_the_handshake_are_received(
    server: Server, application: RecordingApplication
) -> None:
    """Clients send `connect` in the same packet as the handshake."""
    with Client(server) as client:
        third = text("three")
        client.upgrade(behind=text("one") + text("two") + third[:5])
        client.send(third[5:])

        assert [client.read()[1] for _ in range(3)] == [b"one", b"two", b"three"]
        assert application.last.texts == ["one", "two", "three"]


def test_message_as_long_as_the_limit_is_received(client: Client) -> None:
    client.send(text("x" * MESSAGE_LIMIT))

    assert client.read() == (TEXT, b"x" * MESSAGE_LIMIT)


def test_empty_fragments_without_end_are_not_kept(client: Client) -> None:
    client.send(text("a", fin=False))
    for _ in range(10):
        client.send(frame(CONT, b"", fin=False) * 1000)
    client.send(frame(CONT, b"b"))

    assert client.read() == (TEXT, b"ab")


# Messages in that are wrong


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(text("x" * (MESSAGE_LIMIT + 1)), id="one-frame"),
        pytest.param(text("x" * 600, fin=False) + frame(CONT, b"x" * 600, fin=False), id="fragments"),
        pytest.param(b"\x81\xff" + (1 << 62).to_bytes(8) + bytes(4), id="announced-only"),
    ],
)
def test_oversized_message_closes_1009(client: Client, frames: bytes) -> None:
    client.send(frames)

    assert client.read_close()[0] == 1009


@pytest.mark.parametrize(
    "data", [b"\xff", b"abc\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"], ids=repr
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_invalid_utf8_closes_1007(
    client: Client, application: RecordingApplication, opcode: int, data: bytes
) -> None:
    client.send(frame(opcode, data), text("never"))

    assert client.read_close()[0] == 1007
    assert application.last.texts == []


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(frame(TEXT, b"a", mask=False), id="unmasked"),
        pytest.param(raw(0x81 | 0x40, b"a"), id="rsv1"),
        pytest.param(raw(0x81 | 0x20, b"a"), id="rsv2"),
        pytest.param(raw(0x81 | 0x10, b"a"), id="rsv3"),
        pytest.param(raw(0x83, b"a"), id="opcode-3"),
        pytest.param(raw(0x8B, b"a"), id="opcode-11"),
        pytest.param(raw(0x09, b""), id="fragmented-ping"),
        pytest.param(b"\x89\xfe" + (126).to_bytes(2) + bytes(130), id="long-ping"),
        pytest.param(raw(0x80, b"a"), id="continuation-of-nothing"),
        pytest.param(text("a", fin=False) + text("b"), id="text-inside-fragments"),
        pytest.param(raw(0x88, b"\x03"), id="close-of-one-byte"),
        pytest.param(close(1005), id="close-1005"),
        pytest.param(close(999), id="close-999"),
        pytest.param(close(1004), id="close-1004"),
        pytest.param(close(5000), id="close-5000"),
    ],
)
def test_protocol_error_closes_1002(client: Client, application: RecordingApplication, frames: bytes) -> None:
    client.send(frames, text("never"))

    assert client.read_close()[0] == 1002
    until(lambda: application.last.ends)
    assert [code for code, _ in application.last.ends] == [1002]
    assert application.last.texts == []


def test_close_reason_that_is_not_utf8_closes_1007(client: Client) -> None:
    client.send(close(1000, b"\xff"))

    assert client.read_close()[0] == 1007


def test_close_frame_reaches_a_client_that_is_still_sending(client: Client) -> None:
    """Hanging up on unread input would reset the connection and destroy the close frame."""
    client.send(text("x" * (MESSAGE_LIMIT + 1)), b"y" * 500_000)

    assert client.read_close()[0] == 1009


# Closing


@pytest.mark.parametrize(
    ("payload", "heard"),
    [
        (b"", (1005, "")),
        ((1000).to_bytes(2), (1000, "")),
        ((1001).to_bytes(2) + b"leaving", (1001, "leaving")),
        ((4321).to_bytes(2) + "höla".encode(), (4321, "höla")),
    ],
)
def test_close_of_the_client_is_echoed(
    client: Client, application: RecordingApplication, payload: bytes, heard: tuple[int, str]
) -> None:
    client.send(frame(CLOSE, payload), text("never"))

    assert client.read() == (CLOSE, payload)
    assert client.at_end()
    until(lambda: application.last.ends)
    assert application.last.ends == [heard]
    assert application.last.texts == []


def test_close_by_the_application_follows_what_was_sent(
    client: Client, application: RecordingApplication, server: Server
) -> None:
    channel = application.last.channel
    channel.send(b"last words")
    channel.close(4000, "enough")
    channel.send(b"too late")
    channel.close(4001, "again")

    assert [client.read(), client.read()] == [(TEXT, b"last words"), (CLOSE, b"\x0f\xa0enough")]
    client.send(close(4000))
    assert client.at_end()
    assert application.last.ends == [(4000, "enough")]
    client.disconnect()
    until(lambda: not server.channels)


def test_receiver_hears_of_its_own_close_only_later(
    client: Client, application: RecordingApplication
) -> None:
    """`closed` never comes from within a call of the application."""
    application.last.channel.close()

    assert application.last.ends == []
    until(lambda: application.last.ends == [(1000, "")])


def test_messages_after_our_close_are_not_received(client: Client, application: RecordingApplication) -> None:
    application.last.channel.close()
    client.send(text("too late"), close(1000))

    assert client.read_close() == (1000, "")
    assert application.last.texts == []


def test_long_close_reason_is_cut_between_characters(
    client: Client, application: RecordingApplication
) -> None:
    application.last.channel.close(1000, "ö" * 100)

    assert client.read() == (CLOSE, b"\x03\xe8" + "ö".encode() * 61)


def test_client_that_does_not_answer_a_close_is_cut_off(
    client: Client, application: RecordingApplication, server: Server
) -> None:
    application.last.channel.close()

    assert client.read_close() == (1000, "")
    until(lambda: not server.channels)


def test_client_that_never_hangs_up_is_cut_off(client: Client, server: Server) -> None:
    client.send(close(1000))

    assert client.read_close() == (1000, "")
    until(lambda: not server.channels)


def test_lost_connection_is_1006(client: Client, application: RecordingApplication, server: Server) -> None:
    receiver = application.last
    client.disconnect()

    until(lambda: receiver.ends)
    assert [code for code, _ in receiver.ends] == [1006]
    assert not server.channels


def test_reset_connection_is_1006(client: Client, application: RecordingApplication, server: Server) -> None:
    receiver = application.last
    client.socket.setsockopt(names.SOL_SOCKET, names.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.disconnect()

    until(lambda: receiver.ends)
    assert [code for code, _ in receiver.ends] == [1006]


def test_send_to_a_reset_connection_ends_it(client: Client, application: RecordingApplication) -> None:
    """An error of `send` reaches the receiver as the end, later, and nobody as an exception."""
    receiver = application.last
    receiver.channel.pause()
    client.socket.setsockopt(names.SOL_SOCKET, names.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.disconnect()
    receiver.channel.send(b"a")

    assert receiver.ends == []
    until(lambda: receiver.ends)
    receiver.channel.send(b"b")


# The application's errors


def failing(receiver: RecordingReceiver, message: str) -> None:
    if message == "fail":
        raise RuntimeError("a mistake of the application")
    receiver.channel.send(message.encode())


def test_error_in_receive_closes_that_client_only(caplog: pytest.LogCaptureFixture) -> None:
    application = RecordingApplication(failing)
    with serving(application) as server, Client(server) as other, Client(server) as client:
        other.upgrade()
        client.upgrade().send(text("fail"), text("never"))

        assert client.read_close()[0] == 1011
        other.send(text("still here"))
        assert other.read() == (TEXT, b"still here")
    assert application.receivers[1].texts == ["fail"]
    assert "a mistake of the application" in caplog.text


def test_error_in_connect_closes_1011(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing:
        def connect(self, channel: object, request: object) -> None:
            raise RuntimeError("not today")

    with serving(Refusing()) as server, Client(server) as client:
        client.upgrade(behind=text("never"))

        assert client.read_close()[0] == 1011
    assert "not today" in caplog.text


def test_waiting_in_receive_closes_1011(caplog: pytest.LogCaptureFixture) -> None:
    """The loop cannot wait; an application that tries is told so, in its traceback."""
    application = RecordingApplication(lambda receiver, message: gevent.sleep(1))
    with serving(application) as server, Client(server) as client:
        client.upgrade().send(text("a"))

        assert client.read_close()[0] == 1011
    assert "BlockingSwitchOutError" in caplog.text


def test_error_in_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RecordingReceiver):
        def closed(self, code: int, reason: str) -> None:
            super().closed(code, reason)
            raise RuntimeError("it hurts to part")

    application = RecordingApplication()
    application.connect = lambda *args: (
        application.receivers.append(  # type: ignore[method-assign]
            Failing(*args, silence)
        )
        or application.receivers[-1]
    )
    with serving(application) as server, Client(server) as client:
        client.upgrade().send(close(1000))

        assert client.read_close() == (1000, "")
    assert "it hurts to part" in caplog.text


def test_close_within_connect_is_heard(server: Server) -> None:
    """A receiver that does not exist yet when its channel is closed still hears of the end."""
    application = RecordingApplication()

    def connect(channel, request):  # type: ignore[no-untyped-def]
        channel.send(b"sorry")
        channel.close(1008, "full")
        return RecordingApplication.connect(application, channel, request)

    application.connect = connect  # type: ignore[method-assign]
    with serving(application) as server, Client(server) as client:
        client.upgrade()

        assert client.read() == (TEXT, b"sorry")
        assert client.read() == (CLOSE, b"\x03\xf0full")
        until(lambda: application.last.ends == [(1008, "full")])


# Messages out


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_message_of_any_size_arrives(client: Client, application: RecordingApplication, size: int) -> None:
    application.last.channel.send(b"x" * size)

    assert client.read() == (TEXT, b"x" * size)


def test_batch_arrives_in_order(client: Client, application: RecordingApplication) -> None:
    application.last.channel.send_batch(Batch([b"a", b"b" * 300, b"c"]))

    assert [client.read()[1] for _ in range(3)] == [b"a", b"b" * 300, b"c"]


def test_batch_is_encoded_once() -> None:
    batch = Batch(iter([b"a", b"b"]))

    assert batch.encoded(text_frames) is batch.encoded(text_frames)
    assert batch.encoded(text_frames) == b"\x81\x01a\x81\x01b"


def test_pong_during_a_large_send_waits_for_its_frame_to_end(
    server: Server, application: RecordingApplication
) -> None:
    with Client(server, receive_buffer=4096) as client:
        client.upgrade()
        channel = application.last.channel
        while not channel.buffered:
            channel.send(b"x" * 100_000)
        client.send(frame(PING, b"here?"), text("the end"))
        until(lambda: application.last.texts)

        frames = [client.read()]
        while frames[-1] != (TEXT, b"the end"):
            frames.append(client.read())
    assert frames[-2:] == [(PONG, b"here?"), (TEXT, b"the end")]
    assert set(frames[:-2]) == {(TEXT, b"x" * 100_000)}


def test_drained_is_heard_when_nothing_waits_any_more(
    server: Server, application: RecordingApplication
) -> None:
    with Client(server, receive_buffer=4096) as client:
        client.upgrade()
        receiver = application.last
        receiver.channel.send(b"small")
        count = 0
        while not receiver.channel.buffered:
            receiver.channel.send(b"x" * 50_000)
            count += 1
        assert receiver.drains == 0

        for _ in range(count + 1):
            client.read()
        until(lambda: receiver.drains == 1)
        assert receiver.channel.buffered == 0


def test_slow_reader_is_bounded_and_closed_1013(
    application: RecordingApplication, caplog: pytest.LogCaptureFixture
) -> None:
    """What it was sent whole arrives whole, then the close frame; no memory beyond the limit is held."""
    limits = Limits(waiting=256 * 1024)  # and the time that it takes to read all that
    with serving(application, limits=limits) as server, Client(server, receive_buffer=4096) as client:
        client.upgrade()
        receiver = application.last
        highest = 0
        for number in range(10_000):
            receiver.channel.send(b"%01000d" % number)
            highest = max(highest, receiver.channel.buffered)
        until(lambda: receiver.ends)

        numbers = []
        while (found := client.read())[0] == TEXT:
            numbers.append(int(found[1]))
    assert found == (CLOSE, b"\x03\xf5reading too slowly")
    assert numbers == list(range(len(numbers)))
    assert 200_000 < highest <= 256 * 1024
    assert receiver.ends == [(1013, "reading too slowly")]
    assert "reads too slowly" in caplog.text


def test_slow_reader_does_not_delay_others(server: Server, application: RecordingApplication) -> None:
    with Client(server, receive_buffer=4096) as slow, Client(server) as quick:
        slow.upgrade()
        stalled = application.last.channel
        quick.upgrade()
        while stalled.buffered < 200_000:
            stalled.send(b"x" * 10_000)

        quick.send(text("me"))
        assert quick.read() == (TEXT, b"me")
        assert stalled.buffered


def test_ping_flood_without_reading_is_bounded(server: Server, application: RecordingApplication) -> None:
    """Pongs count as what waits: a client that pings and never reads is closed too."""
    with Client(server, receive_buffer=4096) as client:
        client.upgrade()
        receiver = application.last
        pings = frame(PING, b"x" * 125) * 100
        client.socket.settimeout(2)
        with pytest.raises(OSError):
            while True:
                client.send(pings)
        until(lambda: receiver.ends)
        until(lambda: not server.channels)


def test_larger_than_the_limit_in_one_batch_is_refused(
    server: Server, application: RecordingApplication
) -> None:
    with Client(server, receive_buffer=4096) as client:
        client.upgrade()
        application.last.channel.send(b"x" * 20_000_000)

        until(lambda: application.last.ends)
        assert application.last.channel.buffered == 0


# Fairness


def test_flooding_clients_take_turns() -> None:
    """However much a client has sent, it is read in portions, with the others' in between."""
    order: list[str] = []
    application = RecordingApplication(lambda receiver, message: order.append(message))
    with serving(application) as server, Client(server) as one, Client(server) as two:
        for client, message in ((one, "1"), (two, "2")):
            client.upgrade()
            until(lambda: len(server.channels) == len(application.receivers))
            application.last.channel.pause()
            client.send(text(message) * 10_000)
        for receiver in application.receivers:
            receiver.channel.resume()

        until(lambda: len(order) == 20_000)
        assert sum(first != second for first, second in pairwise(order)) > 4


def test_paused_channel_receives_nothing_until_resumed(
    client: Client, application: RecordingApplication
) -> None:
    receiver = application.last
    receiver.channel.pause()
    client.send(text("a"))
    gevent.sleep(0.02)
    assert receiver.texts == []

    receiver.channel.resume()
    assert client.read() == (TEXT, b"a")
    receiver.channel.resume()


def test_paused_channel_still_closes(client: Client, application: RecordingApplication) -> None:
    application.last.channel.pause()
    application.last.channel.close(1000)
    client.send(close(1000))

    assert client.read_close() == (1000, "")


def test_frames_are_not_logged_by_default(client: Client) -> None:
    assert not logging.getLogger("dddp.transport.websocket.frames").isEnabledFor(logging.INFO)
