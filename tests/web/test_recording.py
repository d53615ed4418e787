"""A recording is what was observed; one that was cut or damaged is what can still be read."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from pathlib import Path

import msgspec
import pytest

from nonsuch.errors import LocalError
from nonsuch.web import recording as module
from nonsuch.web.observations import Observation
from nonsuch.web.recording import FORMAT, Header, Recorder, Recording, read_recording

HEADER = Header(FORMAT, 1, "pool", "a pool", 100.0)


def observations(count: int) -> list[Observation]:
    return [
        Observation(100.0 + number / 10, "a", "worked", {"number": number, "text": "x" * 20})
        for number in range(count)
    ]


def all_of(recording: Recording) -> list[Observation]:
    return [recording[number] for number in range(len(recording))]


async def recorded(path: Path, some: list[Observation]) -> None:
    recorder = Recorder(path, "pool", "a pool", 100.0)
    for observation in some:
        recorder.add(observation)
    await recorder.close()


def written(path: Path, *lines: bytes) -> Path:
    """A file of these lines, as gzip has it."""
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))
    return path


def read_or_refused(path: Path) -> Recording | None:
    try:
        return read_recording(path)
    except LocalError:
        return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "run.nonsuch"


async def test_what_was_observed_is_read_back(path: Path) -> None:
    some = observations(1000)
    await recorded(path, some)
    recording = read_recording(path)
    assert all_of(recording) == some
    assert (recording.header, recording.damage) == (HEADER, "")
    assert (recording.begin, recording.end) == (100.0, some[-1].at)


async def test_an_empty_recording_is_one(path: Path) -> None:
    await recorded(path, [])
    recording = read_recording(path)
    assert (len(recording), recording.begin, recording.end) == (0, 100.0, 100.0)


async def test_what_was_written_can_be_read_while_it_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a kill -9 now: nothing has been closed.
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.0)
    some = observations(50)
    recorder = Recorder(path, "pool", "a pool", 100.0)
    for observation in some:
        recorder.add(observation)
        await asyncio.sleep(0)
    # The writing tells nobody.
    while recorder._lines or recorder._writing is not None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    recording = read_recording(path)
    assert all_of(recording) == some
    assert recording.damage.endswith("ends in the middle; the 50 observations before are used")
    await recorder.close()
    assert read_recording(path).damage == ""


async def test_a_file_that_is_there_is_not_written_over(path: Path) -> None:
    await recorded(path, observations(3))
    with pytest.raises(LocalError, match="is there already"):
        Recorder(path, "pool", "a pool", 100.0)
    assert len(read_recording(path)) == 3


async def test_a_recording_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="cannot record to"):
        Recorder(tmp_path / "file" / "run", "pool", "a pool", 100.0)


async def test_a_recording_has_a_longest_length(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 5_000)
    told: list[str] = []
    recorder = Recorder(path, "pool", "a pool", 100.0, failed=told.append)
    for observation in observations(1000):
        recorder.add(observation)
    await recorder.close()
    assert told == [f"the recording {path} has ended: it is as long as one may be"]


async def test_a_disk_that_does_not_answer_ends_a_recording(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_WAITING_MAX", 100)
    told: list[str] = []
    recorder = Recorder(path, "pool", "a pool", 100.0, failed=told.append)
    for observation in observations(1000):
        recorder.add(observation)
    assert told == [f"the recording {path} has ended: its disk does not keep up"]
    await recorder.close()


def test_a_recording_that_is_cut_anywhere_is_used_up_to_there(path: Path) -> None:
    some = observations(200)
    asyncio.run(recorded(path, some))
    data = path.read_bytes()
    whole = 0
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        recording = read_or_refused(path)
        if recording is None:
            assert not whole
            continue
        assert all_of(recording) == some[: len(recording)]
        assert len(recording) >= whole
        assert "ends in the middle" in recording.damage
        whole = len(recording)
    assert whole > 100


def test_a_recording_that_is_damaged_anywhere_is_read_or_refused(path: Path) -> None:
    asyncio.run(recorded(path, observations(200)))
    data = path.read_bytes()
    for place in range(0, len(data), 41):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        recording = read_or_refused(path)
        assert recording is None or recording.damage or place < 10 or len(recording) == 200


def test_lines_that_are_no_observations_are_left_out(path: Path) -> None:
    path.parent.mkdir()
    good = [msgspec.json.encode(each) for each in observations(2)]
    bad = [b"", b"[" * 5000, b'{"at": 1e999, "node": "", "fact": ""}', b'{"at": 1}', b"\xff"]
    recording = read_recording(written(path, msgspec.json.encode(HEADER), good[0], *bad, good[1]))
    assert all_of(recording) == observations(2)
    assert recording.damage == f"{path}: 5 of its lines are no observations; the other 2 are used"


def test_times_that_go_back_are_held(path: Path) -> None:
    path.parent.mkdir()
    times = (105.0, 104.9, 106.0)
    lines = [msgspec.json.encode(Observation(at, "a", "x")) for at in times]
    recording = read_recording(written(path, msgspec.json.encode(HEADER), *lines))
    assert list(recording.times) == [105.0, 105.0, 106.0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Your transaction data",
        gzip.compress(b""),
        gzip.compress(b"hello\n"),
        gzip.compress(b'{"format": "another", "version": 1}\n'),
        gzip.compress(b"[" * 100_000 + b"\n"),
        gzip.compress(msgspec.json.encode({**msgspec.to_builtins(HEADER), "network": "x"}) + b"\n"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(LocalError, match="is no recording of nonsuch"):
        read_recording(path)


def test_a_recording_of_a_newer_kind_is_refused(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, version=2)
    with pytest.raises(LocalError, match="a newer nonsuch"):
        read_recording(written(tmp_path / "file", msgspec.json.encode(header)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        read_recording(tmp_path / "file")
    with pytest.raises(LocalError, match="directory"):
        read_recording(tmp_path)


def test_a_bomb_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    line = msgspec.json.encode(observations(1)[0]) + b"\n"
    path.write_bytes(gzip.compress(msgspec.json.encode(HEADER) + b"\n" + line * 100_000))
    recording = read_recording(path, bytes_max=100_000)
    assert 0 < len(recording) * len(line) < 100_000
    assert "longer than a recording may be" in recording.damage
    # And a line without an end.
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    packed = packer.compress(msgspec.json.encode(HEADER) + b"\n" + b"x" * 10_000_000)
    path.write_bytes(packed + packer.flush())
    assert "a line that is too long" in read_recording(path).damage
