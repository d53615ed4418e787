"""The dashboard on a real socket: what it shows, to whom, and what it lets be done."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from nonsuch.errors import LocalError
from nonsuch.web import feed as feed_module
from nonsuch.web import guard as guard_module
from nonsuch.web import server as server_module
from nonsuch.web.fleet import Asked, Bystander, LossSet, ProcessStarted
from nonsuch.web.guard import Access
from nonsuch.web.observations import observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.rows import About
from nonsuch.web.server import dashboard, serve
from nonsuch.web.static import PAGE
from tests.web.served import ABOUT, CONTROL, Stage, head_of, served

TOKEN = "open sesame"
LOCKED = Access(token=TOKEN, control=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with served(tmp_path, CONTROL) as stage:
        yield stage


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Stage]:
    async with served(tmp_path, LOCKED) as stage:
        yield stage


# What it shows.


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/draw/chart.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_files_of_the_page(stage: Stage, path: str, kind: str) -> None:
    answer = await stage.ask("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["cache-control"] == "no-cache"
    again = await stage.ask("GET", path, if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/notes.secret", "/nothing", "/draw", "/draw/", "//etc/passwd", "/../server.py"),
        *("/%2e%2e/server.py", "/draw/..%2f..%2fserver.py", "/%00", "/index.html/", "/api/nothing"),
    ],
)
async def test_nothing_else_is_a_file(stage: Stage, path: str) -> None:
    assert (await stage.ask("GET", path)).status == 404


async def test_a_page_may_load_nothing_from_elsewhere(stage: Stage) -> None:
    for path in ("/", "/api/picture", "/nothing", "/metrics"):
        headers = (await stage.ask("GET", path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in headers


async def test_the_picture_can_be_asked_for(stage: Stage) -> None:
    stage.feed.observe(observed_fact(ProcessStarted("miner-1", "miner"), "", 7.0))
    answer = await stage.ask("GET", "/api/picture")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = json.loads(answer.body)
    assert (found["at"], found["reset"]) == (7.0, True)
    assert found["set"]["nodes"]["miner-1"]["role"] == "miner"


async def test_a_head_has_no_body(stage: Stage) -> None:
    for path in ("/api/picture", "/", "/metrics"):
        answer = await stage.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
    assert (await stage.ask("HEAD", "/api/stream")).status == 405


async def test_metrics_are_those_of_the_picture(stage: Stage) -> None:
    stage.feed.observe(observed_fact(ProcessStarted("m", "miner", rate=5.0), "", 7.0))
    answer = await stage.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.body.decode().splitlines()
    assert 'nonsuch_nodes{role="miner",state="starting"} 1.0' in lines
    assert 'nonsuch_node_rate{node="m"} 5.0' in lines
    assert 'nonsuch_facts_total{fact="process started"} 1.0' in lines


async def test_the_api_is_described_and_nothing_of_it_comes_from_elsewhere(stage: Stage) -> None:
    described = json.loads((await stage.ask("GET", "/api/openapi.json")).body)
    assert {"/api/picture", "/api/stream", "/api/nodes/{name}/{action}", "/api/replay"} <= set(
        described["paths"]
    )
    schemas = described["components"]["schemas"]
    assert {"PictureMessage", "Node", "Shard", "Race", "Sentence", "NewJob"} <= set(schemas)
    references = {
        part.split('"')[0] for part in json.dumps(described).split('"#/components/schemas/')[1:]
    }
    assert references <= set(schemas)
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await stage.ask("GET", path)).status == 404


async def test_a_recording_can_be_fetched(tmp_path: Path) -> None:
    class Recorded(Bystander):
        def recording(self) -> Path | None:
            return tmp_path / "run.nonsuch"

    data = gzip.compress(b"anything")
    (tmp_path / "run.nonsuch").write_bytes(data)
    async with served(tmp_path / "page", fleet=Recorded(ABOUT)) as stage:
        answer = await stage.ask("GET", "/api/recording")
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["content-disposition"] == 'attachment; filename="run.nonsuch"'
        (tmp_path / "run.nonsuch").unlink()
        assert (await stage.ask("GET", "/api/recording")).status == 400
    async with served(tmp_path / "page") as stage:
        assert (await stage.ask("GET", "/api/recording")).text == "Nothing was recorded yet."


# The stream.


async def test_a_stream_begins_with_the_picture_and_goes_on_with_changes(stage: Stage) -> None:
    stream = await stage.stream()
    first = await stream.message()
    assert (first.reset, first.set["about"]["about"]["title"]) == (True, "a pool")
    for number in range(3):
        stage.feed.observe(observed_fact(Asked(f"sentence {number}"), "", float(number)))
        message = await stream.message()
        assert (message.n, message.reset) == (first.n + 1 + number, False)
        assert message.set["told"][str(number + 1)]["text"] == f"sentence {number}"
    stream.writer.close()


async def test_who_hangs_up_is_forgotten(stage: Stage) -> None:
    stream = await stage.stream()
    await stream.message()
    assert stage.feed.clients == 1
    stream.writer.transport.abort()
    while stage.feed.clients:  # noqa: ASYNC110 - it is the other side that forgets
        await asyncio.sleep(0.001)


async def test_there_are_only_so_many_streams(tmp_path: Path) -> None:
    feed = feed_module.Feed(Picture(ABOUT), clients_max=2)
    async with served(tmp_path, feed=feed) as stage:
        for _ in range(2):
            await (await stage.stream()).message()
        answer = await stage.ask("GET", "/api/stream")
        assert (answer.status, answer.text) == (
            503,
            "this dashboard has its 2 clients; try later",
        )


async def test_one_who_does_not_read_is_cut_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "PATCH_SECONDS", 0.0)
    slow, quick = await stage.stream(), await stage.stream()
    await quick.message()
    # Far more than the buffers of two systems and two programs hold.
    text = "x" * 300
    number = 0
    while not stage.feed.dropped:
        for _ in range(300):
            number += 1
            stage.feed.observe(observed_fact(Asked(text), "", float(number)))
        await quick.message()
    assert stage.feed.clients == 1
    assert not await slow.end()
    stage.feed.observe(observed_fact(Asked("goes on"), "", 0.0))
    while (await quick.message()).set["told"].popitem()[1]["text"] != "goes on":
        pass


async def test_two_hundred_watch_and_all_see_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as stage:
        streams = [await stage.stream() for _ in range(200)]
        resets = [await stream.message() for stream in streams]
        assert {message.n for message in resets} == {0}
        for number in range(3):
            stage.feed.observe(observed_fact(Asked(f"sentence {number}"), "", float(number)))
            seen = [await stream.message() for stream in streams]
            assert all(message == seen[0] for message in seen)
            assert seen[0].n == number + 1
        serving = stage.serving
        assert stage.feed.clients == 200
        ends = [asyncio.ensure_future(stream.end()) for stream in streams]
        await serving.close()
        assert all(await asyncio.gather(*ends))
        with pytest.raises(ConnectionRefusedError):
            await stage.connect()


async def test_one_who_knows_no_chunks_gets_a_stream_without(stage: Stage) -> None:
    reader, writer = await stage.connect()
    writer.write(f"GET /api/stream HTTP/1.0\r\nHost: {stage.host}\r\n\r\n".encode())
    _, headers = await head_of(reader)
    assert "transfer-encoding" not in headers
    assert (await reader.readuntil(b"\n\n")).startswith(b'data: {"n":0')
    stage.feed.observe(observed_fact(Asked("goes on"), "", 0.0))
    assert (await reader.readuntil(b"\n\n")).startswith(b'data: {"n":1')


async def test_it_stops_though_nobody_reads(stage: Stage) -> None:
    streams = [await stage.stream() for _ in range(5)]
    for number in range(300):
        stage.feed.observe(observed_fact(Asked("x" * 400), "", float(number)))
        if number % 10 == 0:
            await asyncio.sleep(0)
    await stage.serving.close()
    assert stage.feed.clients == 0
    for stream in streams:
        await stream.end()


# Who may look.


@pytest.mark.parametrize(
    "name",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::1", ""),
        *("localhost.evil.example:{port}", "127.0.0.2", "[::1]x", "@127.0.0.1"),
    ],
)
async def test_another_name_is_not_answered(stage: Stage, name: str) -> None:
    host = name.replace("{port}", str(stage.serving.port))
    for path in ("/", "/api/picture", "/api/stream", "/metrics"):
        answer = await stage.ask("GET", path, host=host)
        assert answer.status in (400, 421)
        assert b"a pool" not in answer.body


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST.", "localhost:9"])
async def test_its_own_names_are(stage: Stage, name: str) -> None:
    assert (await stage.ask("GET", "/api/picture", host=name)).status == 200


def test_one_that_listens_everywhere_goes_by_every_address() -> None:
    access = Access("0.0.0.0", ("pool.example",), TOKEN)
    for name in ("10.1.2.3", "fe80::1", "localhost", "pool.example", socket.gethostname().lower()):
        assert access.goes_by(name), name
    assert not access.goes_by("evil.example")
    named = Access("10.1.2.3", token=TOKEN)
    assert named.goes_by("10.1.2.3")
    assert not named.goes_by("10.1.2.4")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "pool.example"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(LocalError, match="needs a token"):
        Access(host)
    assert Access(host, token=TOKEN).token


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer \xff\xfe"},
        {"cookie": f"nonsuch-0={TOKEN}"},
        {"cookie": ";=;==;nonsuch"},
    ],
)
async def test_without_the_token_nobody_is_let_in(locked: Stage, headers: dict[str, str]) -> None:
    for path in ("/", "/api/picture", "/api/stream", "/metrics", "/api/openapi.json"):
        answer = await locked.ask("GET", path, **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (
            401,
            'Bearer realm="nonsuch"',
        )
        assert b"a pool" not in answer.body
    assert (await locked.post("/api/nodes/miner-1/kill", **headers)).status == 401
    assert not locked.fleet.done


async def test_a_bearer_is_let_in(locked: Stage) -> None:
    answer = await locked.ask("GET", "/api/picture", authorization=f"Bearer {TOKEN}")
    assert answer.status == 200
    assert (await locked.ask("HEAD", "/api/picture", authorization=f"bearer {TOKEN}")).status == 200


async def test_a_token_in_the_address_becomes_a_cookie_once(locked: Stage) -> None:
    answer = await locked.ask("GET", "/?token=open+sesame&job=7")
    assert (answer.status, answer.headers["location"]) == (303, "/?job=7")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert TOKEN not in cookie
    assert (await locked.ask("GET", "/api/picture", cookie=f"a=b; {cookie}")).status == 200
    assert (await locked.ask("GET", "/api/picture", cookie=cookie[:-1])).status == 401
    for query in ("token=wrong", "token=", "&".join("a=b" for _ in range(99)), "%ff"):
        assert (await locked.ask("GET", f"/?{query}")).status == 401
    # It leads nowhere but here.
    answer = await locked.ask("GET", "//evil.example/?token=open+sesame")
    assert answer.headers["location"] == "/evil.example/"
    # And changes nothing.
    assert (await locked.post("/api/nodes/miner-1/kill?token=open+sesame")).status == 401


# Who may change something.


async def test_what_the_page_asks_for_is_done(stage: Stage) -> None:
    answer = await stage.post("/api/nodes/miner-1/kill", origin=f"http://{stage.host}")
    assert (answer.status, answer.text) == (200, "miner-1 was killed.")
    await stage.post("/api/nodes", {"role": "miner"})
    await stage.post("/api/loss", {"share": 0.25})
    await stage.post("/api/loss", {"share": 1})
    await stage.post("/api/jobs", {"message": "Your transaction data", "upto": 10**9})
    await stage.post("/api/replay", {"at": 7.5, "paused": True})
    assert stage.fleet.done == [
        ("kill", "miner-1"),
        ("add", "miner"),
        ("lose", 0.25),
        ("lose", 1.0),
        ("submit", "Your transaction data", 10**9),
        ("replay", 7.5, True, None),
    ]


async def test_what_cannot_be_done_is_said_in_a_sentence(stage: Stage) -> None:
    answer = await stage.post("/api/nodes/nobody/kill")
    assert (answer.status, answer.text) == (404, "there is no nobody")
    answer = await stage.post("/api/nodes/miner-1/freeze")
    text = "to freeze miner-1 is not possible here: a pool has no way"
    assert (answer.status, answer.text) == (409, text)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://localhost"},
        {"x_nonsuch": None},
        {"x_nonsuch": "0"},
        {"content_type": None},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data; application/json"},
    ],
)
async def test_other_pages_change_nothing(stage: Stage, headers: dict[str, str | None]) -> None:
    answer = await stage.post("/api/nodes/miner-1/kill", **headers)
    assert answer.status in (403, 415)
    assert answer.text
    assert not stage.fleet.done


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
async def test_other_methods_mean_nothing(stage: Stage, method: str) -> None:
    answer = await stage.ask(method, "/api/nodes", x_nonsuch="1")
    assert answer.status in (400, 405)
    assert "access-control-allow-origin" not in answer.headers


async def test_without_control_nothing_is_changed_but_the_clock(tmp_path: Path) -> None:
    async with served(tmp_path) as stage:
        for path, wish in (
            ("/api/nodes/miner-1/kill", None),
            ("/api/nodes", {"role": "miner"}),
            ("/api/loss", {"share": 0.5}),
            ("/api/heal", None),
            ("/api/jobs", {"message": "m", "upto": 7}),
            ("/api/transactions", {"text": "t"}),
            ("/api/recording", {"on": True}),
        ):
            answer = await stage.post(path, wish)
            assert (answer.status, "--control" in answer.text) == (403, True)
        assert not stage.fleet.done
        assert (await stage.post("/api/replay", {"speed": 2.0})).status == 200


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/api/nodes", {}),
        ("/api/nodes", {"role": "king"}),
        ("/api/nodes", {"role": "miner", "more": 1}),
        ("/api/nodes", b""),
        ("/api/nodes", b"{"),
        ("/api/nodes", b"[]"),
        ("/api/nodes", b'"miner"'),
        ("/api/nodes", b"\xff"),
        ("/api/nodes", b"[" * 100_000),
        ("/api/nodes", b'{"role":' * 50_000),
        ("/api/nodes/miner-1/eat", {}),
        ("/api/nodes/" + "x" * 200 + "/kill", {}),
        ("/api/loss", {"share": 1.5}),
        ("/api/loss", {"share": "0.5"}),
        ("/api/loss", b'{"share": NaN}'),
        ("/api/loss", {"share": True}),
        ("/api/jobs", {"message": "", "upto": 7}),
        ("/api/jobs", {"message": "m", "upto": -1}),
        ("/api/jobs", {"message": "m", "upto": 2**64}),
        ("/api/jobs", {"message": "m", "upto": 7.5}),
        ("/api/jobs", b'{"message": "m", "upto": ' + b"9" * 10_000 + b"}"),
        ("/api/jobs", b'{"message": "\\ud800", "upto": 7}'),
        ("/api/jobs", {"message": "é" * 40_000, "upto": 7}),
        ("/api/jobs", {"message": "x" * 65_537, "upto": 7}),
        ("/api/replay", {"at": "now"}),
        ("/api/replay", b'{"at": 1e999}'),
        ("/api/nothing", {}),
    ],
)
async def test_what_makes_no_sense_is_refused_in_a_sentence(
    stage: Stage, path: str, wish: object
) -> None:
    answer = await stage.post(path, wish)
    assert 400 <= answer.status < 500
    assert 0 < len(answer.text) < 1000
    assert not stage.fleet.done


@pytest.mark.parametrize(
    ("path", "wish", "text"),
    [
        ("/api/loss", b'{"share": 0.1,}', "The body is no JSON from its character 14 on."),
        ("/api/loss", b"\xff", "The body is no JSON."),
        ("/api/loss", b"", "The body is empty."),
        ("/api/loss", b"[]", "The body is JSON, but no object."),
        ("/api/loss", b"{}", "share is missing."),
        ("/api/loss", b'{"share": 0, "x": 1}', "x means nothing here."),
        ("/api/loss", b'{"share": 2}', "share: it should be less than or equal to 1."),
    ],
)
async def test_what_was_wrong_is_said_and_what_to_send(
    stage: Stage, path: str, wish: bytes, text: str
) -> None:
    answer = await stage.post(path, wish)
    assert answer.text == (
        f'{text} Send a JSON object with "share"; /api/openapi.json describes it.'
    )


async def test_what_is_lost_is_told_with_what_is_watched(stage: Stage) -> None:
    stream = await stage.stream()
    assert (await stream.message()).set["about"]["about"]["loss"] == 0.0
    stage.feed.observe(observed_fact(LossSet(0.25), "", 1.0))
    assert (await stream.message()).set["about"]["about"]["loss"] == 0.25


async def test_the_longest_message_is_taken(stage: Stage) -> None:
    answer = await stage.post("/api/jobs", {"message": "é" * 32_768, "upto": 2**64 - 2})
    assert answer.status == 200


async def test_what_is_sent_has_a_longest_length(stage: Stage) -> None:
    too_long = guard_module.BODY_BYTES_MAX + 1
    answer = await stage.ask(
        "POST",
        "/api/jobs",
        content_length=str(too_long),
        content_type="application/json",
        x_nonsuch="1",
    )
    assert answer.status == 413
    # And so has what comes in chunks, whose length nobody tells beforehand.
    reader, writer = await stage.connect()
    head = stage.request(
        "POST",
        "/api/jobs",
        transfer_encoding="chunked",
        content_type="application/json",
        x_nonsuch="1",
    )
    writer.write(head)
    for _ in range(too_long // 60_000 + 1):
        writer.write(b"EA60\r\n" + b"x" * 60_000 + b"\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_what_is_sent_too_slowly_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "BODY_SECONDS", 0.01)
    answer = await stage.ask(
        "POST", "/api/jobs", content_length="9", content_type="application/json", x_nonsuch="1"
    )
    assert (answer.status, answer.text) == (408, "That took too long.")


# Connections.


async def test_one_that_says_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.05)
    async with served(tmp_path) as stage:
        for said in (b"", b"GET / HT", stage.request("GET", "/")[:-2]):
            reader, writer = await stage.connect()
            writer.write(said)
            assert await ended(reader)
            writer.close()
        # A stream has said what it wants.
        stream = await stage.stream()
        await stream.message()
        await asyncio.sleep(0.1)
        stage.feed.observe(observed_fact(Asked("still here"), "", 1.0))
        assert (await stream.message()).set["told"]["1"]["text"] == "still here"


async def test_there_are_only_so_many_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 3)
    async with served(tmp_path) as stage:
        streams = [await stage.stream() for _ in range(3)]
        reader, writer = await stage.connect()
        assert await ended(reader)
        writer.close()
        streams[0].writer.transport.abort()
        while stage.feed.clients == 3:  # noqa: ASYNC110 - it is the other side that forgets
            await asyncio.sleep(0.001)
        assert (await stage.ask("GET", "/")).status == 200


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02", b"GET / HTTP/9.9\r\n\r\n", b"GET  \r\n\r\n", b"A" * 100_000]
)
async def test_what_is_no_request_is_refused(stage: Stage, data: bytes) -> None:
    reader, writer = await stage.connect()
    writer.write(data)
    writer.write_eof()
    assert await ended(reader)
    writer.close()
    assert (await stage.ask("GET", "/")).status == 200


async def ended(reader: asyncio.StreamReader) -> bool:
    """Read to the end, however it comes."""
    try:
        await reader.read()
    except ConnectionError:
        return True
    return reader.at_eof()


# Where it listens.


async def test_the_next_port_is_taken_where_one_is_not_free(tmp_path: Path) -> None:
    async with (
        served(tmp_path / "one") as one,
        served(tmp_path / "two", port=one.serving.port) as two,
    ):
        assert one.serving.port < two.serving.port <= one.serving.port + 50
        assert two.serving.url == f"http://127.0.0.1:{two.serving.port}/"
        async with httpx2.AsyncClient() as client:
            assert (await client.get(two.serving.url)).text.startswith("<!doctype html>")


async def test_a_host_that_is_not_here_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as stage:
        with pytest.raises(LocalError, match="cannot listen on"):
            await serve(stage.app, "192.0.2.1", 7280)
        with pytest.raises(LocalError, match="cannot listen on"):
            await serve(stage.app, "no such host.invalid", 7280)


def test_a_page_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    app = dashboard(feed_module.Feed(Picture(About("pool"))), Bystander(ABOUT), page=tmp_path)
    assert app.api.title == "Nonsuch"


def test_the_page_of_this_package_has_its_files() -> None:
    assert (PAGE / "index.html").exists()


def test_other_commands_do_not_load_a_server() -> None:
    story = (
        "import sys, nonsuch.cli.logs, nonsuch.web.fleet, nonsuch.web.picture;"
        " sys.exit(bool({'fastapi', 'uvicorn', 'starlette', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", story], check=False).returncode == 0
