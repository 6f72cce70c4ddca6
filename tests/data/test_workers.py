"""Work spread over processes: all of it, errors told, workers that die told."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from colosse.core.errors import ColosseError, UserError
from colosse.core.files import DiskFullError
from colosse.data.workers import Workers, atomic


def write(job: tuple[str, int]) -> None:
    folder, number = job
    if number == 13:
        raise UserError("thirteen is unlucky", hint="leave it out")
    if number == 66:
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / str(number)).write_text(str(os.getpid()))


def test_every_job_is_done(tmp_path: Path) -> None:
    with Workers(2) as pool:
        jobs = [(str(tmp_path), n) for n in range(12)]
        assert sorted(pool.run(write, jobs)) == sorted(jobs)
        found = {path.read_text() for path in tmp_path.iterdir()}
        assert len(list(tmp_path.iterdir())) == 12 and str(os.getpid()) not in found
        with pytest.raises(UserError, match=r"unlucky \(leave it out\)"):
            list(pool.run(write, [(str(tmp_path), 13)]))
        with pytest.raises(ColosseError, match=r"a worker .* was killed"):
            list(pool.run(write, [(str(tmp_path), 66)]))


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    with Workers(1) as pool:
        assert len(list(pool.run(write, [(str(tmp_path), 1)]))) == 1
    assert (tmp_path / "1").read_text() == str(os.getpid())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    with atomic(tmp_path / "a") as file:
        file.write(b"all of it")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"all of it"
    with pytest.raises(DiskFullError, match="is full"), atomic(tmp_path / "b") as file:
        file.write(b"some of it")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
