"""A worker process that hangs in the middle of a message, one of its own or one that it is sent, is replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Said

import aekit
from aekit.encoder import embedding
from aekit.encoder.engines._processes import Processes
from aekit.encoder.engines.units import Setup, encode_positions
from aekit.errors import AekitError


def test_a_worker_that_is_silent_in_the_middle_of_a_message_is_replaced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes for longer is waited for."""
    np.save(tmp_path / "data.npy", np.zeros((9, 1, 8, 8), np.uint8))
    monkeypatch.setenv("AEKIT_MESSAGE_SECONDS", "0.3")
    stops = tmp_path / "stops.py"
    stops.write_text(
        "import os, sys, time\n"
        "from multiprocessing.connection import Connection\n"
        "from pathlib import Path\n"
        "from aekit.encoder._embedding_worker import Worker\n"
        "with Connection(int(sys.argv[1])) as parent:\n"
        "    worker, first = Worker(parent.recv_bytes()), Path(__file__).with_suffix('.first')\n"
        "    parent.send_bytes(b'ready')\n"
        "    while True:\n"
        "        answer = worker.work(parent.recv_bytes())\n"
        "        time.sleep(0.5)\n"
        "        if not first.exists():\n"
        "            first.touch()\n"
        "            os.write(parent.fileno(), len(answer).to_bytes(4, 'big') + answer[:9])\n"
        "            time.sleep(600)\n"
        "        parent.send_bytes(answer)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedding, "WORKER", "stops")
    said = Said()
    rows = aekit.embed(run, tmp_path / "data.npy", engine="processes", workers=1, progress=said)
    assert len(rows) == 9
    assert "it stopped in the middle of a message for 0.3 s (AEKIT_MESSAGE_SECONDS)" in said
    monkeypatch.setenv("AEKIT_MESSAGE_SECONDS", "soon")
    with pytest.raises(AekitError, match=r"AEKIT_MESSAGE_SECONDS = 'soon': expected seconds"):
        aekit.embed(run, tmp_path / "data.npy", engine="processes", workers=1)


def test_a_worker_that_stops_reading_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of several MB is sent to a worker that reads nothing; another of them only once a worker has none."""
    monkeypatch.setenv("AEKIT_MESSAGE_SECONDS", "0.5")
    (tmp_path / "stops_reading.py").write_text(
        "import os, signal, sys, time\n"
        "from multiprocessing.connection import Connection\n"
        "from pathlib import Path\n"
        "from aekit.encoder.engines.units import Result, decode_positions\n"
        "with Connection(int(sys.argv[1])) as parent:\n"
        "    parent.recv_bytes()\n"
        "    parent.send_bytes(b'ready')\n"
        "    first = Path(__file__).with_suffix('.first')\n"
        "    if not first.exists():\n"
        "        first.touch()\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    while True:\n"
        "        positions = decode_positions(parent.recv_bytes())\n"
        "        time.sleep(1)  # longer than it may take to read\n"
        "        parent.send_bytes(Result(positions).to_bytes())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows = [np.arange(start, 400_000, 2) for start in range(3)]
    units = [encode_positions(positions) for positions in rows]
    assert min(map(len, units)) > 2_000_000
    said = Said()
    with Processes().start("stops_reading", 1, said) as pool:
        results = list(pool.results(Setup("", {}, "cpu", 1, {}), units))
    assert all(np.array_equal(result.positions, positions) for result, positions in zip(results, rows, strict=True))
    problem = "it stopped reading in the middle of a message for 0.5 s (AEKIT_MESSAGE_SECONDS)"
    assert said.lines == [f"a worker process ended and is started again: {problem}"]
