"""Kill a server at random times while it is asked, and while its index grows under it.

``python tests/reliability/served_kills.py FOLDER [COUNT]`` starts ``aekit serve``, lets a client search, and kills the server,
in every second trial also the ``aekit index`` that adds to the index meanwhile. Each answer must be that of the index as it was
when the server opened it. Afterwards the index must take the additions, and a new server must answer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from crashes import Trials, begin, end, prepare_all, start
from figures import Figure, record

ROW, K, STARTED = 7, 58, 20.0
"""The row whose neighbors are asked for, their number, and the seconds in which a server must answer."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def ask(port: int) -> Any:
    """Return the ids of the neighbors of a row; None without a server."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/search?row={ROW}&k={K}", timeout=10) as answer:
            return [hit["id"] for hit in json.loads(answer.read())]
    except (URLError, ConnectionError, TimeoutError):
        return None


class ServedTrials:
    """Trials with a server of an index that grows: `at_random_times`, then `wrong` says what went wrong."""

    def __init__(self, place: Path) -> None:
        self.growing, self.place = Trials("index-growing", place), place
        self.log = place / "serve-log.txt"
        self.after = self._answer_of_a_new_server()
        start("index-growing", place)
        self.before = self._answer_of_a_new_server()
        self.tried, self.answered, self.wrong = 0, 0, list[str]()

    def at_random_times(self, count: int) -> None:
        """Kill servers while their index grows, and in every second trial the process that adds to it."""
        rng = random.Random(count)
        for number in range(count):
            start("index-growing", self.place)
            seconds = rng.random() * 3 * self.growing.seconds
            self._trial(seconds, kill_both=number % 2 == 0, when=f"trial {number}, after {seconds:.3f} s")

    def _trial(self, seconds: float, kill_both: bool, when: str) -> None:
        port, until, answers = free_port(), time.monotonic() + seconds, []
        server = begin(self._serve(port), self.log, self.place / "out")
        grower = begin(self.growing.plain, self.growing.log, self.place / "out")
        while time.monotonic() < until:
            answers.append(ask(port))
            time.sleep(0.005)
        for child, _ in (server, grower) if kill_both else (server,):
            os.kill(child, signal.SIGKILL)
        ended, grown = end(*server)[0], end(*grower)[0]
        self.tried += 1
        self.answered += sum(answer is not None for answer in answers)
        # A server that starts between two renames may refuse the index, in one line.
        if ended not in (-signal.SIGKILL, 2) or grown not in (0, -signal.SIGKILL):
            self.wrong.append(f"{when}: exits {ended} and {grown}: {self.log.read_text()[-300:]}")
        if any(answer not in (None, self.before, self.after) for answer in answers):
            self.wrong.append(f"{when}: answered {answers}")
        code, _ = end(*begin(self.growing.plain, self.growing.log, self.place / "out"))
        if code or (differing := self.growing.differing()):
            self.wrong.append(
                f"{when}: exit {code}, differs in {differing if not code else self.growing.log.read_text()}"
            )
        elif (answer := self._answer_of_a_new_server()) != self.after:
            self.wrong.append(f"{when}: a new server answers {answer}")

    def _serve(self, port: int) -> list[str]:
        return ["serve", str(self.place / "out" / "it"), "--port", str(port), "--method", "pca", "-q"]

    def _answer_of_a_new_server(self) -> Any:
        port, until, answer = free_port(), time.monotonic() + STARTED, None
        server = begin(self._serve(port), self.log, self.place / "out")
        while answer is None and time.monotonic() < until:
            answer = ask(port)
            time.sleep(0.01)
        os.kill(server[0], signal.SIGKILL)
        end(*server)
        return answer


def main() -> None:
    """Run the trials, print a line of JSON, and keep the figures."""
    place, count = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 50
    prepare_all(["serve", "index"], place)
    trials = ServedTrials(place)
    assert trials.before and trials.after and trials.before != trials.after, "the index does not grow"
    trials.at_random_times(count)
    print(json.dumps({"tried": trials.tried, "answered": trials.answered, "wrong": trials.wrong}))
    note = f"{trials.answered} searches answered meanwhile"
    row = Figure("serve, its index growing", "killed at random times", trials.tried, len(trials.wrong), note)
    if count >= 50:
        record("kills-of-servers", [row])


if __name__ == "__main__":
    main()
