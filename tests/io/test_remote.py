"""Data and results in object storage: real servers on loopback, HTTP, and faults of all."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from commands import Command
from PIL import Image
from remote_storage import Storage, missing, serve_storage

import aekit
from aekit.encoder.parquet_store import Store
from aekit.errors import DataError, IdentityError, OutputError
from aekit.io import _object_stores, _remote_files
from aekit.io.remote import local_copy, output_file
from aekit.io.remote_urls import is_remote, shown_url, without_secrets, without_tokens
from aekit.progress import Progress

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Lines(Progress):
    """Collect what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module", params=["s3", "gs", "az"])
def server(request: pytest.FixtureRequest) -> Iterator[Storage]:
    if lack := missing(request.param):
        pytest.skip(lack)
    with serve_storage(request.param) as storage:
        yield storage


@pytest.fixture
def storage(server: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, value in (server.environment | {"AEKIT_CACHE": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    options: dict[str, Any] = {}
    fsspec.config.set_conf_env(options)  # as where it is imported
    for name in options:
        monkeypatch.setitem(fsspec.config.conf, name, options[name])
    monkeypatch.setattr(_remote_files, "FIRST_DELAY", 0.01)
    server.heal()
    server.requests.clear()
    return server


def png(seed: int, path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)).save(path, "PNG")
    return path.read_bytes()


@pytest.fixture
def prefix() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def photos(storage: Storage, prefix: str, tmp_path: Path) -> str:
    for number in range(12):
        storage.put(f"{prefix}/photos/{'cat' if number % 2 else 'dog'}/{number}.png", png(number, tmp_path / "a.png"))
    storage.requests.clear()
    return storage.url(f"{prefix}/photos")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on images of the same shape."""
    folder = tmp_path_factory.mktemp("remote")
    images = np.random.default_rng(0).integers(0, 255, (24, 3, 12, 12), np.uint8)
    np.save(folder / "images.npy", images)
    aekit.fit(images, dim=3, epochs=1, backbone="mlp", out=folder / "run", report=False)
    return folder / "run"


def test_a_folder_of_images_is_fetched_once_and_a_changed_object_anew(
    storage: Storage, photos: str, prefix: str, tmp_path: Path
) -> None:
    source = aekit.open_data(photos)
    assert sorted(source.ids)[:2] == ["cat/1.png", "cat/11.png"] and set(source.labels) == {"cat", "dog"}
    assert source.origin["data"] == photos
    assert storage.count("read", ".png") == 12
    aekit.open_data(photos)
    assert storage.count("read", ".png") == 12
    storage.put(f"{prefix}/photos/cat/1.png", png(99, tmp_path / "a.png"))
    before = source.read(np.arange(12))[0]
    after = aekit.open_data(photos).read(np.arange(12))[0]
    assert storage.count("read", ".png") == 13
    assert (before != after).any(axis=(1, 2, 3)).sum() == 1


def test_embeddings_and_an_index_live_in_a_bucket_and_grow_there(
    storage: Storage, photos: str, prefix: str, trained: Path, tmp_path: Path
) -> None:
    run, out = storage.url(f"{prefix}/run"), storage.url(f"{prefix}/emb")
    assert aekit.copy(trained, run) == len(storage.keys(f"{prefix}/run"))
    embeddings = aekit.embed(run, photos, out=out)
    here = aekit.embed(trained, photos)
    assert np.allclose(embeddings.vectors, here.vectors, atol=1e-5) and list(embeddings.ids) == list(here.ids)
    assert embeddings.manifest["origin"]["data"] == photos
    storage.put(f"{prefix}/photos/cat/99.png", png(5, tmp_path / "a.png"))
    storage.requests.clear()
    lines = Lines()
    grown = aekit.embed(run, photos, out=out, progress=lines)
    assert len(grown) == 13
    assert storage.count("read", ".png") == 1
    assert storage.count("write", "part-00000.parquet") == 0 and storage.count("write", "part-00001.parquet") == 1
    assert any("12 of 13 samples are embedded already" in line for line in lines.lines)
    puts = [key.rpartition("/")[2] for action, key in storage.requests if action == "write"]
    assert puts[-1] == "manifest.json"
    index = aekit.build_index(out, storage.url(f"{prefix}/index"))
    assert index.search(grown.vectors[:2], k=1).ids[:, 0].tolist() == list(grown.ids[:2])
    opened = aekit.open_index(storage.url(f"{prefix}/index"))
    assert len(opened) == 13 and opened.encoder().digest == grown.digest
    clusters = aekit.find_clusters(out, out=storage.url(f"{prefix}/clusters"))
    assert "clusters.parquet" in storage.keys(f"{prefix}/clusters") or storage.keys(f"{prefix}/clusters")
    with pytest.raises(OutputError, match="exists already"):
        aekit.find_clusters(out, out=storage.url(f"{prefix}/clusters"))
    assert clusters.clusters is not None


@pytest.mark.parametrize("kind", ["500", "cut", "slow"])
def test_faults_that_pass_cost_a_retry(storage: Storage, photos: str, kind: str) -> None:
    storage.fail(2, kind, "read", "/10.png")
    assert len(aekit.open_data(photos)) == 12
    assert storage.count("read", "/10.png") == (1 if kind == "slow" else 3)


@pytest.mark.parametrize(("kind", "message"), [("500", "6 attempts"), ("cut", "6 attempts"), ("forbidden", "denied")])
def test_faults_that_stay_are_one_line(storage: Storage, photos: str, kind: str, message: str) -> None:
    storage.fail(1000, kind, "read", "/10.png")
    with pytest.raises(DataError, match=message) as caught:
        aekit.open_data(photos)
    assert "\n" not in str(caught.value) and photos in str(caught.value)
    asked = {"500": 6, "forbidden": 1}  # aekit alone repeats; Azure's client goes on with answers that are cut
    assert storage.count("read", "/10.png") == asked.get(kind, storage.count("read", "/10.png"))
    storage.heal()
    fetched = storage.count("read", ".png")
    assert len(aekit.open_data(photos)) == 12
    assert storage.count("read", ".png") <= fetched + 12


def test_an_upload_that_fails_shows_no_artifact_and_goes_on(
    storage: Storage, photos: str, prefix: str, trained: Path
) -> None:
    out = storage.url(f"{prefix}/emb")
    storage.fail(1000, "500", "write", "/emb/manifest.json")
    with pytest.raises(OutputError, match="6 attempts"):
        aekit.embed(trained, photos, out=out)
    with pytest.raises(DataError, match="interrupted"):
        aekit.Embeddings.open(out)
    storage.heal()
    storage.requests.clear()
    lines = Lines()
    assert len(aekit.embed(trained, photos, out=out, progress=lines)) == 12
    assert any("12 of 12 samples are embedded already" in line for line in lines.lines)
    assert storage.count("write", ".parquet") == 0 and storage.count("write", "manifest.json") == 1


def test_a_missing_part_is_one_line(storage: Storage, photos: str, prefix: str, trained: Path) -> None:
    out = storage.url(f"{prefix}/emb")
    aekit.embed(trained, photos, out=out)
    storage.remove(f"{prefix}/emb/part-00000.parquet")
    with pytest.raises(IdentityError, match=r"://.*part-00000.parquet: is missing"):
        aekit.Embeddings.open(out)


def test_another_writer_is_noticed(
    storage: Storage, photos: str, prefix: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = storage.url(f"{prefix}/emb")

    close = Store.close

    def close_after_another(store: Store) -> None:
        storage.put(f"{prefix}/emb/skipped.csv", b"of another")
        close(store)

    monkeypatch.setattr(Store, "close", close_after_another)
    with pytest.raises(OutputError, match="another program has written"):
        aekit.embed(trained, photos, out=out)
    assert storage.keys(f"{prefix}/emb") == ["skipped.csv"]


def test_names_that_lead_out_of_the_folder_are_left_out(storage: Storage, prefix: str, tmp_path: Path) -> None:
    outside = ["a//b.png"] + ["../../escape.png"] * (storage.scheme != "az")  # Azure has no such names
    for name in (*outside, "ok.png", "other.png"):
        storage.put(f"{prefix}/d/{name}", png(1, tmp_path / "a.png"))
    if storage.scheme == "az":
        storage.client.upload_blob(f"{prefix}/d/folder", b"", metadata={"hdi_isfolder": "true"})
    with pytest.warns(aekit.errors.DataWarning, match=f"{len(outside)} objects are left out"):
        folder = local_copy(storage.url(f"{prefix}/d"))
    assert sorted(path.name for path in folder.rglob("*")) == ["ok.png", "other.png"]


def test_the_cache_is_bounded(storage: Storage, photos: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_REMOTE_CACHE", "1000")
    with pytest.raises(DataError, match=r"do not fit.*1,000 bytes \(AEKIT_REMOTE_CACHE\)"):
        aekit.open_data(photos)


def test_shards_of_a_pattern(storage: Storage, prefix: str, tmp_path: Path) -> None:
    import io
    import tarfile

    for shard in range(2):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for number in range(3):
                content = png(shard * 3 + number, tmp_path / "a.png")
                member = tarfile.TarInfo(f"{shard}{number}.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        storage.put(f"{prefix}/w/train-00{shard}.tar", buffer.getvalue())
    storage.put(f"{prefix}/w/other.tar", b"not asked for")
    assert len(aekit.open_data(storage.url(f"{prefix}/w/train-{{000..001}}.tar"))) == 6
    assert storage.count("read", "other.tar") == 0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@host/a.npy", "https://host/a.npy"),
        ("https://host/a.npy?X-Amz-Signature=5f&X-Amz-Date=1", "https://host/a.npy"),
        ("https://host/a.npy?sv=2022&sig=abc", "https://host/a.npy"),
        ("https://host/get?id=5", "https://host/get?id=5"),
        ("https://host/get?t=0123456789012345678901234", "https://host/get"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("s3://bucket/a b.npy", "s3://bucket/a b.npy"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert without_secrets(f"error at {url}: no") == f"error at {shown}: no"
    assert is_remote(url) and not is_remote("images:/data") and not is_remote("sklearn:digits")


def test_credentials_in_a_url_and_unknown_storage_are_refused() -> None:
    with pytest.raises(DataError, match="credentials in the URL") as caught:
        aekit.open_data("s3://KEY:hidden@bucket/x")
    assert "hidden" not in str(caught.value)
    with pytest.raises(DataError, match=r"no storage 'ftp'"):
        aekit.open_data("ftp://host/x")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{served.server_address[1]}", folder
    served.shutdown()
    served.server_close()
    thread.join()


def test_http_files_folders_and_secrets(web: tuple[str, Path], trained: Path, tmp_path: Path) -> None:
    host, folder = web
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 255, (20, 3, 12, 12), np.uint8))
    url = f"http://user:hunter2@{host}/x.npy?X-Amz-Signature=deadbeefcafe"
    encoder = aekit.fit(url, dim=2, epochs=1, backbone="mlp", out=tmp_path / "run")
    embeddings = aekit.embed(encoder, url, out=tmp_path / "emb")
    assert embeddings.manifest["origin"]["data"] == f"http://{host}/x.npy"
    for path in tmp_path.rglob("*"):
        if path.is_file() and "web" not in path.parts:
            content = path.read_bytes()
            assert b"hunter2" not in content and b"deadbeefcafe" not in content, path
    with pytest.raises(DataError, match="no such object") as caught:
        aekit.open_data(url.replace("x.npy", "y.npy"))
    assert "hunter2" not in str(caught.value) and "deadbeef" not in str(caught.value)
    (folder / "run").symlink_to(trained)
    assert aekit.load(f"http://{host}/run/encoder/").digest == aekit.load(trained).digest
    with pytest.raises(OutputError, match="nothing can be written over HTTP"):
        aekit.embed(encoder, tmp_path / "web" / "x.npy", out=f"http://{host}/emb")


@pytest.mark.parametrize(
    ("scheme", "extra"), [("s3", "s3"), ("gs", "gs"), ("gcs", "gs"), ("az", "az"), ("abfss", "az")]
)
def test_a_missing_package_is_one_line(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str, **options: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(DataError, match=rf"needs further packages: pip install 'aekit\[{extra}\]'"):
        aekit.open_data(f"{scheme}://bucket/photos")


def test_runs_are_written_locally_and_copied(storage: Storage, prefix: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=rf"aekit copy FOLDER {storage.scheme}://"):
        aekit.fit("sklearn:iris", dim=2, epochs=1, out=storage.url(f"{prefix}/run"))
    with pytest.raises(OutputError, match=rf"aekit copy FOLDER {storage.scheme}://"):
        aekit.finetune(trained, "sklearn:iris", out=storage.url(f"{prefix}/tuned"))
    url = storage.url(f"{prefix}/run")
    storage.fail(6, "500", "write", "/encoder/encoder.json")
    with pytest.raises(OutputError):
        aekit.copy(trained, url)
    storage.requests.clear()
    count = aekit.copy(trained, url)
    assert storage.count("write", "weights.safetensors") == 0 and storage.count("write", "/encoder/encoder.json") == 1
    assert aekit.copy(url, tmp_path / "back") == count
    assert aekit.load(tmp_path / "back").digest == aekit.load(url).digest
    with pytest.raises(OutputError, match="not part of"):
        storage.put(f"{prefix}/run/other.txt", b"x")
        aekit.copy(trained, url)


def test_the_command_line(
    storage: Storage, photos: str, prefix: str, trained: Path, tmp_path: Path, command: Command
) -> None:
    out, index, page = (storage.url(f"{prefix}/{name}") for name in ("emb", "index", "page.html"))
    line = [sys.executable, "-m", "aekit", "embed", str(trained), photos, "-o", out]
    done = subprocess.run(line, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert f"{photos}: fetching 12 of 12 files" in done.stderr and f"{out}: uploading" in done.stderr
    assert {said.partition(":")[0] for said in done.stderr.splitlines()} == {storage.scheme, "fetch", "embed", "upload"}
    assert f"in {out}" in done.stdout
    said = [done.stdout, done.stderr]
    for arguments in (
        ("fit", photos, "-o", tmp_path / "run", "--set", "train.epochs=1", "--set", "encoder.dim=2"),
        ("index", out, "-o", index),
        ("search", index, f"{photos}/cat/1.png", "-k", 2, "--html", page),
    ):
        outcome = command(*arguments)
        assert outcome.code == 0, outcome.err
        said += [outcome.out, outcome.err]
    assert "cat/1.png" in outcome.out
    storage.fail(6, "forbidden", "list", f"{prefix}/photos/")
    refused = command("embed", trained, photos, "-o", tmp_path / "emb")
    assert refused.error == f"{photos}: cannot be read: permission denied by the server"
    said.append(refused.err)
    storage.heal()
    with pytest.raises(DataError, match="://bucket/none: no such object or folder"):
        aekit.embed(trained, storage.url("none"))
    with pytest.raises(OutputError, match="cannot be written"):
        aekit.copy(trained, f"{storage.scheme}://no-such-bucket/run")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written += [storage.get(f"{prefix}/{name}") for name in storage.keys(prefix)]
    assert len(written) > 40 and not [content for content in written if storage.secret.encode() in content]
    assert storage.secret not in "".join(said)


def test_files_of_several_parts_and_of_none_go_there_and_back(storage: Storage, prefix: str) -> None:
    for name, content in {"large": np.random.default_rng(0).bytes(6 * 2**20), "empty": b""}.items():
        storage.fail(1, "500", "other", "")  # of Google's client, which sends as much in parts
        url = storage.url(f"{prefix}/{name}.bin")
        with output_file(url) as path:
            path.write_bytes(content)
        assert local_copy(url).read_bytes() == content == storage.get(f"{prefix}/{name}.bin")
    assert storage.count("other") == (3 if storage.scheme == "gs" else 0)  # a failed part, its removal, a part


def test_a_listing_of_many_pages(storage: Storage, photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_object_stores, "PAGE", 5)
    assert len(aekit.open_data(photos)) == 12
    assert storage.count("list") >= 3


def test_what_servers_and_clients_say_holds_no_credentials() -> None:
    assert without_tokens("/tokeninfo?access_token=ya29.A&alt=json: no") == "/tokeninfo?access_token=...&alt=json: no"
    assert without_tokens("AccountName=a;AccountKey=b==;x=1 sig=c") == "AccountName=a;AccountKey=...;x=1 sig=..."
    assert without_tokens("prefix=photos size=12 design=x") == "prefix=photos size=12 design=x"
