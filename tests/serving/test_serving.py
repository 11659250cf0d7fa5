"""Serving an index: the neighbors that the index finds, bounded input, and no access to anything but its samples."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import aekit
from aekit.errors import DataError
from aekit.index.vector_index import VectorIndex, open_index
from aekit.serving import reloading
from aekit.serving.app import make_app
from aekit.serving.catalog import MAX_HITS, Catalog
from aekit.serving.protection import Uploads
from aekit.serving.results import Results

uvicorn = pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")

LIMIT = 200_000


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    """Return an index of image files, 40 red and 20 blue."""
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    for number in range(60):
        color = "red" if number % 3 else "blue"
        pixels = rng.integers(0, 60, (12, 12, 3), dtype=np.uint8)
        pixels[..., 0 if color == "red" else 2] += 180
        (folder / "images" / color).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / color / f"{number:02}.png")
    settings = {"train.epochs": 2, "train.precision": "fp32"}
    encoder = aekit.fit(str(folder / "images"), dim=6, overrides=settings, out=folder / "run")
    embeddings = encoder.embed(str(folder / "images"), out=folder / "embeddings")
    aekit.build_index(embeddings, folder / "index")
    return open_index(folder / "index")


@pytest.fixture(scope="module")
def catalog(index: VectorIndex) -> Catalog:
    return Catalog(index, method="pca")


@pytest.fixture(scope="module")
def port(catalog: Catalog) -> Iterator[int]:
    """Serve the catalog on the loopback interface and return the port."""
    with served(catalog) as port:
        yield port


@contextmanager
def served(
    catalog: Catalog, token: str = "", say: Callable[[str], object] = print, results: Results | None = None
) -> Iterator[int]:
    """Serve a catalog in a thread, as the command does, and yield the port."""
    from aekit.serving.server import bind_socket, make_server

    listening = bind_socket("127.0.0.1", 0)
    app = make_app(catalog, hosts=["127.0.0.1", "localhost"], max_bytes=LIMIT, token=token, results=results, say=say)
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request and return the status, the headers and the content."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET" if body is None else "POST", path, body, headers)
    response = connection.getresponse()
    content = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return content


def fetch_json(port: int, path: str, body: bytes | None = None, **headers: str) -> Any:
    status, _, content = ask(port, path, body, **headers)
    assert status == 200, content
    return json.loads(content)


def fetch_error(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    status, _, content = ask(port, path, body, **headers)
    assert status >= 400
    return status, json.loads(content)["error"]


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_neighbors_equal_those_of_the_index(port: int, index: VectorIndex) -> None:
    hits = fetch_json(port, "/api/search?row=7&k=5")
    scores, rows = index.search_ids([index.ids[7]], 5)
    assert [hit["row"] for hit in hits] == rows[0].tolist()
    assert [hit["score"] for hit in hits] == pytest.approx(scores[0].tolist(), abs=1e-6)
    assert [hit["id"] for hit in hits] == [index.ids[row] for row in rows[0]]


def test_a_label_filters_without_reordering(port: int, index: VectorIndex) -> None:
    hits = fetch_json(port, f"/api/search?row=7&k={len(index) - 1}")
    assert len(hits) == len(index) - 1
    blue = [hit["row"] for hit in hits if hit["label"] == "blue"]
    assert [hit["row"] for hit in fetch_json(port, "/api/search?row=7&k=60&label=blue")] == blue
    assert [hit["row"] for hit in fetch_json(port, "/api/search?row=7&k=3&label=blue")] == blue[:3]
    assert fetch_json(port, "/api/search?row=7&k=3&label=green") == []


def test_a_condition_filters_without_reordering(port: int, index: VectorIndex) -> None:
    hits = fetch_json(port, f"/api/search?row=7&k={len(index) - 1}")
    blue = [hit["row"] for hit in hits if hit["label"] == "blue" and hit["id"].endswith("0.png")]
    where = quote('label = "blue" and id like "%0.png"')
    assert blue and [hit["row"] for hit in fetch_json(port, f"/api/search?row=7&k=60&where={where}")] == blue
    assert fetch_json(port, f"/api/search?row=7&k=60&where={where}&label=red") == []
    image = (Path(index.manifest["origin"]["data"]) / index.ids[7]).read_bytes()
    assert [hit["row"] for hit in fetch_json(port, f"/api/search?k=2&where={where}", image)] == blue[:2]
    none = quote('label = "bleu"')
    assert fetch_json(port, f"/api/search?row=7&where={none}") == []


def test_an_image_that_is_sent_finds_itself(port: int, index: VectorIndex) -> None:
    path = Path(index.manifest["origin"]["data"]) / index.ids[11]
    first = fetch_json(port, "/api/search?k=3", path.read_bytes())[0]
    assert (first["id"], first["score"]) == (index.ids[11], pytest.approx(1, abs=1e-4))


def test_the_map_and_the_facts_about_the_index(port: int, index: VectorIndex) -> None:
    about, data = fetch_json(port, "/api/index"), fetch_json(port, "/api/map")
    assert about["count"] == len(index) == len(data["rows"]) == about["on_map"]
    assert about["labels"] == {"blue": 20, "red": 40} and about["digest"] == index.digest
    (layout,) = data["map"]["layouts"].values()
    coordinates = np.asarray([layout["x"], layout["y"]])
    assert coordinates.min() >= 0 and coordinates.max() <= 1 and coordinates.std(1).min() > 0
    assert data["map"]["colors"]["label"]["names"] == ["blue", "red"] and data["sheet"]["kind"] == "images"


def test_images_are_thumbnails_of_the_samples(port: int, index: VectorIndex) -> None:
    _, headers, content = ask(port, "/api/image/11")
    assert headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    path = Path(index.manifest["origin"]["data"]) / index.ids[11]
    assert (pixels == np.asarray(Image.open(path))).all()


def test_a_selection_as_csv(port: int, index: VectorIndex) -> None:
    _, headers, content = ask(port, "/api/csv", json.dumps({"rows": [3, 0]}).encode())
    lines = content.decode().splitlines()
    assert headers["content-disposition"].startswith("attachment")
    assert lines[0] == "id,label" and [line.split(",")[0] for line in lines[1:]] == [index.ids[3], index.ids[0]]


def test_samples_are_found_by_part_of_their_id(port: int, index: VectorIndex) -> None:
    assert [sample["id"] for sample in fetch_json(port, "/api/find?text=BLUE/0")] == [
        n for n in index.ids if "blue/0" in n
    ]
    assert len(fetch_json(port, "/api/find?text=png")) == 20


def test_an_id_is_found_before_those_that_contain_it() -> None:
    vectors = np.eye(4, dtype=np.float32)[[*range(4)] * 8]
    ids = [f"1{row}" for row in range(31)] + ["1"]
    found = Catalog(aekit.build_index(aekit.Embeddings.from_array(vectors, ids=ids)), method="pca").find("1", 5)
    assert [sample["id"] for sample in found] == ["1", "10", "11", "12", "13"]


def test_only_labels_that_can_be_asked_for_are_offered() -> None:
    vectors = np.eye(4, dtype=np.float32)[[*range(4)] * 8]
    labels = np.asarray(["cat", None] * 16, object)
    embeddings = aekit.Embeddings.from_array(vectors, labels=labels)
    assert Catalog(aekit.build_index(embeddings), method="pca").about()["labels"] == {"cat": 16}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/search?row=60", None, "row 60: expected 0 to 59"),
        ("/api/search?row=-1", None, "row -1: expected 0 to 59"),
        ("/api/search?row=x", None, "row = 'x': expected a whole number"),
        ("/api/search?k=3", None, "the request has no row: expected a whole number"),
        ("/api/search?row=1&k=" + "9" * 4000, None, f"...: expected 1 to {MAX_HITS}"),
        ("/api/search?row=1&k=" + "9" * 5000, None, "...: expected a whole number"),
        ("/api/search?row=1&k=0", None, f"k = 0: expected 1 to {MAX_HITS}"),
        ("/api/search?row=1&k=9999", None, f"k = 9999: expected 1 to {MAX_HITS}"),
        ("/api/search?row=1&where=lable%20is%20null", None, "character 1: no column 'lable'; did you mean 'label'?"),
        ("/api/search?where=label%20%3D%203", png(20, 20), "label holds text: expected text in quotes, not 3"),
        ("/api/search?row=1&where=" + "(" * 5000, None, "at most 50 levels"),
        ("/api/search", b"", "the file is empty"),
        ("/api/search", b"no image", "the file is not a readable image"),
        ("/api/search", png(20, 20)[:60], "the file: "),
        ("/api/search", png(8000, 6000), "the image has 48,000,000 pixels: expected at most 40,000,000"),
        ("/api/image/60", None, "row 60: expected 0 to 59"),
        ("/api/csv", b'{"rows": [true]}', "whole numbers"),
        ("/api/csv", b'{"rows": 3}', "whole numbers"),
        ("/api/csv", b"[" * 20_000, "expected"),
        ("/api/describe", b"{}", "expected"),
    ],
)
def test_bad_requests_are_answered_in_one_line(port: int, path: str, body: bytes | None, message: str) -> None:
    status, error = fetch_error(port, path, body)
    assert status == 400 and message in error and "\n" not in error and "/tmp" not in error


def test_request_bodies_are_bounded(port: int) -> None:
    status, error = fetch_error(port, "/api/search", b"x" * (LIMIT + 1))
    assert status == 413 and f"{LIMIT:,} bytes" in error


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/api/image/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/serve.py",
        "/api/image/..%2f1",
    ],
)
def test_no_other_file_is_reached(port: int, path: str) -> None:
    status, _, content = ask(port, path)
    assert status == 404 and b"root:" not in content


def test_other_host_names_and_origins_are_refused(port: int) -> None:
    assert ask(port, "/api/index", Host="evil.example")[0] == 400
    status, error = fetch_error(port, "/api/csv", b'{"rows": [1]}', Origin="http://evil.example")
    assert status == 400 and "expected a request from this page" in error
    assert fetch_json(port, "/api/describe", b'{"rows": [1]}', Origin=f"http://127.0.0.1:{port}")[0]["row"] == 1


def test_every_response_has_security_headers(port: int) -> None:
    for path in ("/", "/serve.js", "/api/index", "/api/image/1", "/api/search?row=x", "/nothing", "host"):
        headers = ask(port, path)[1] if path != "host" else ask(port, "/", Host="evil.example")[1]
        assert headers["cross-origin-resource-policy"] == "same-origin" and "server" not in headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["http://[", "null", "x", "", "//", "http://evil@127.0.0.1"])
def test_a_malformed_origin_is_refused(port: int, origin: str) -> None:
    status, error = fetch_error(port, "/api/csv", b'{"rows": [1]}', Origin=origin)
    assert status == 400 and "expected a request from this page" in error
    status, error = fetch_error(port, "/api/csv", b'{"rows": [1]}', **{"Sec-Fetch-Site": "cross-site"})
    assert status == 400 and "expected a request from this page" in error


def open_request(port: int, text: str) -> socket.socket:
    """Send the beginning of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(text.replace("\n", "\r\n").encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return everything until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    connection.close()
    return b"".join(parts)


def test_an_upload_is_refused_by_its_declared_length(port: int) -> None:
    for length in ("1000000000000", str(LIMIT + 1)):
        connection = open_request(port, f"POST /api/search HTTP/1.1\nHost: localhost\nContent-Length: {length}\n\nx")
        status = answer(connection)
        assert status.startswith(b"HTTP/1.1 413") and b"connection: close" in status.lower()


def test_half_requests_are_closed(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aekit.serving.server.HEADER_SECONDS", 0.3)
    monkeypatch.setattr("aekit.serving.protection.BODY_SECONDS", 0.3)
    with served(catalog) as port:
        heads = [open_request(port, "GET /api/index HTTP/1.1\nHost: localhost\nX-a: ") for _ in range(50)]
        silent = [open_request(port, "") for _ in range(5)]
        bodies = [
            open_request(port, "POST /api/search HTTP/1.1\nHost: localhost\nContent-Length: 1000\n\nxx")
            for _ in range(20)
        ]
        assert fetch_json(port, "/api/index")["count"] == 60, "others are served meanwhile"
        assert all(answer(connection) == b"" for connection in heads + silent)
        assert all(answer(connection).startswith(b"HTTP/1.1 408") for connection in bodies)
        used = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(3):  # a kept connection is served again, and then closed when the next head stalls
            used.request("GET", "/api/index")
            assert used.getresponse().read()
        used.sock.sendall(b"GET /api")
        assert used.sock.recv(100) == b""
        used.close()


class Upload:
    """A request whose body arrives at once and ends when it is told to."""

    headers: ClassVar[dict[str, str]] = {"content-length": str(LIMIT)}

    def __init__(self) -> None:
        self.ends = asyncio.Event()

    async def stream(self) -> AsyncIterator[bytes]:
        yield b"x" * (LIMIT - 10)
        await self.ends.wait()


async def receive(uploads: Uploads, upload: Upload) -> int:
    async with uploads.receive(upload) as content:  # type: ignore[arg-type]
        return len(content)


def test_uploads_are_bounded_together() -> None:
    async def scenario() -> None:
        uploads, requests = Uploads(LIMIT, 3 * LIMIT), [Upload() for _ in range(3)]
        tasks = [asyncio.create_task(receive(uploads, request)) for request in requests]
        await asyncio.sleep(0.01)
        with pytest.raises(DataError, match="too many uploads at once"):
            await receive(uploads, Upload())
        tasks[0].cancel()  # a dropped upload frees its share
        await asyncio.sleep(0.01)
        requests.append(Upload())
        tasks.append(asyncio.create_task(receive(uploads, requests[-1])))
        for request in requests:
            request.ends.set()
        assert await asyncio.gather(*tasks[1:]) == [LIMIT - 10] * 3 and uploads.in_flight == 0

    asyncio.run(scenario())


def test_dropped_uploads_leave_no_traceback(catalog: Catalog, capfd: pytest.CaptureFixture[str]) -> None:
    with served(catalog) as port:
        head = f"POST /api/search HTTP/1.1\nHost: localhost\nContent-Length: {LIMIT}\n\n"
        for connection in [open_request(port, head + "x" * (LIMIT - 10)) for _ in range(5)]:
            connection.close()
        assert ask(port, "/api/search", png(12, 12))[0] == 200
    said = capfd.readouterr().err
    assert "Traceback" not in said and "Exception" not in said


def test_a_body_of_nonsense_leaves_no_traceback(catalog: Catalog, capfd: pytest.CaptureFixture[str]) -> None:
    with served(catalog) as port:
        for path in ("/nothing", "/api/search"):
            head = f"POST {path} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n"
            answered = answer(open_request(port, head + "not a number\n"))
            assert answered.startswith(b"HTTP/1.1 400 Bad Request") and answered.count(b"HTTP/1.1") == 1
        assert ask(port, "/api/search", png(12, 12))[0] == 200
    said = capfd.readouterr().err
    assert "Traceback" not in said and "Exception" not in said


def test_requests_for_other_protocols_are_answered_over_http(
    catalog: Catalog, capfd: pytest.CaptureFixture[str]
) -> None:
    upgrade = "Upgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\nConnection: upgrade"
    with served(catalog) as port:
        connection = open_request(port, f"GET /healthz HTTP/1.1\nHost: localhost\n{upgrade}\n\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
        connection.close()
    assert "WebSocket" not in capfd.readouterr().err


def test_beyond_this_machine_a_token_is_asked_for(catalog: Catalog) -> None:
    with served(catalog, token="secret") as port:
        for path in ("/", "/api/index", "/api/image/1", "/api/index?token=wrong", "/serve.js"):
            assert fetch_error(port, path)[0] == 401
        status, headers, _ = ask(port, "/?token=secret")
        assert status == 303 and headers["location"] == "/" and "httponly" in headers["set-cookie"].lower()
        cookie = headers["set-cookie"].partition(";")[0]
        assert ask(port, "/", Cookie=cookie)[0] == 200
        assert fetch_json(port, "/api/index", Authorization="Bearer secret")["count"] == 60


def test_an_index_without_its_data_or_encoder() -> None:
    rng = np.random.default_rng(0)
    bare = Catalog(aekit.build_index(rng.normal(size=(30, 4)).astype(np.float32)), method="pca")
    assert bare.about()["images"] is False and bare.about()["files"] is False
    assert len(bare.neighbors_of_row(3, 5)) == 5
    with pytest.raises(DataError, match="this index has no encoder"):
        bare.neighbors_of_file(b"x", 5)
    with pytest.raises(DataError, match="not available"):
        bare.image(3)


def test_a_row_of_a_table_has_a_bar_for_each_column_on_one_scale(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((40, 3)) * (1, 1000, 1e6) + (0, 5, -1e6)
    np.save(tmp_path / "table.npy", rows)
    encoder = aekit.fit(str(tmp_path / "table.npy"), dim=2, epochs=2, out=tmp_path / "run")
    aekit.build_index(encoder.embed(str(tmp_path / "table.npy"), out=tmp_path / "embeddings"), tmp_path / "index")
    kind, content = Catalog(open_index(tmp_path / "index"), method="pca").image(7)
    heights = [float(height) for height in re.findall(r'height="([\d.]+)" fill', content.decode())]
    assert kind == "image/svg+xml" and len(heights) == 3
    # The height of a bar is the distance of its column from the mean, in standard deviations.
    expected = np.abs((rows[7] - rows.mean(0)) / rows.std(0))
    assert np.array(heights) / heights[0] == pytest.approx(expected / expected[0], rel=0.1)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_in_a_browser(chromium: Any, port: int, index: VectorIndex, tmp_path: Path) -> None:
    """The page opens without errors; files and filters give neighbors; a lasso selects; the selection downloads as CSV."""
    from playwright.sync_api import expect

    image = Path(index.manifest["origin"]["data"]) / index.ids[11]
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}")
    canvas = page.locator("#map .plane > canvas")
    canvas.wait_for()
    page.set_input_files("#file", image)
    page.wait_for_selector("#results figure:nth-child(24)")
    assert page.inner_text("#title") == "24 nearest neighbors" and page.inner_text("#query") == image.name
    page.select_option("#label", "blue")
    expect(page.locator("#results figure")).to_have_count(20)
    page.fill("#where", "label =")
    page.press("#where", "Enter")
    expect(page.locator("#problem")).to_contain_text("expected a value")
    page.fill("#where", f'id = "{index.ids[11]}" or label = "blue" and id like "%0.png"')
    page.press("#where", "Enter")
    expect(page.locator("#title")).to_have_text("3 nearest neighbors")
    page.fill("#where", "")
    page.press("#where", "Enter")
    expect(page.locator("#results figure")).to_have_count(20)
    errors.clear()  # the refused condition is one

    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in _AROUND]
    page.get_by_role("button", name="Lasso").click()
    page.mouse.move(*corners[0])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    expect(page.locator("#count")).to_have_text(str(len(index)))
    expect(page.locator("#composition")).to_have_text("red (40), blue (20)")
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "selection.csv")
    assert len((tmp_path / "selection.csv").read_text().splitlines()) == 1 + len(index)

    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert not errors, errors


def find_sample(page: Any, text: str) -> None:
    page.fill("#name", text)
    page.click("#search button[type=submit]")


def test_a_desk_shows_everything_on_one_screen(chromium: Any, port: int, index: VectorIndex) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"http://127.0.0.1:{port}")
    page.locator("#map .legend button").first.wait_for()
    find_sample(page, index.ids[7])
    page.wait_for_selector("#results figure:nth-child(24)")
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size == [1280, 800]
    for part in ("#map .plane > canvas", "#map .legend", "#results-panel", "#selection-panel"):
        box = page.locator(part).bounding_box()
        assert box["height"] > 20 and box["y"] + box["height"] <= 800, part
    # Rows are full, and each neighbor says whether it shares the label of the query.
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('#results')).gridTemplateColumns.split(' ').length"
    )
    assert 24 % columns == 0
    labels = [hit["label"] for hit in fetch_json(port, "/api/search?row=7&k=24")]
    query = index.ids[7].split("/")[0]
    kinds = page.eval_on_selector_all("#results figure", "figures => figures.map((figure) => figure.className)")
    assert kinds == ["same" if label == query else "other" for label in labels]
    signs = page.eval_on_selector_all("#results figcaption i", "all => all.map((i) => i.getAttribute('aria-label'))")
    assert signs.count("same label as the query") == kinds.count("same") and len(signs) == 24
    assert f"{kinds.count('same')} of 24 neighbors share its label" in page.inner_text("#query")

    # An error stands in place of the results of an earlier query.
    find_sample(page, "nothing like this")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == 'No sample id contains "nothing like this".'
    assert page.locator("#results figure").count() == page.locator("#query figure").count() == 0
    assert page.locator("#take").is_hidden() and page.inner_text("#title") == "Neighbors"
    find_sample(page, index.ids[7])
    page.wait_for_selector("#results figure:nth-child(24)")
    assert page.locator("#problem").is_hidden()
    page.close()


def test_names_stand_at_the_medians_of_their_groups(chromium: Any, port: int) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"http://127.0.0.1:{port}")
    page.locator("#map .legend button").first.wait_for()
    drawn = {group["name"]: group for group in page.evaluate("document.querySelector('#map').map.groups()")}
    data = fetch_json(port, "/api/map")["map"]
    (layout,), codes = data["layouts"].values(), np.asarray(data["colors"]["label"]["codes"])
    for code, name in enumerate(data["colors"]["label"]["names"]):
        for axis in "xy":
            values = np.sort(np.asarray(layout[axis])[codes == code])
            assert drawn[name][axis] == values[len(values) // 2]
    page.locator("#map .legend button").first.click()
    assert len(page.evaluate("document.querySelector('#map').map.groups()")) == len(drawn) - 1
    page.close()


def test_one_part_at_a_time_on_a_phone(chromium: Any, port: int, index: VectorIndex) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"http://127.0.0.1:{port}")
    page.locator("#map .legend button").first.wait_for()

    def shown() -> tuple[list[str], list[str]]:
        tabs = page.locator("[role=tab][aria-selected=true]").all_inner_texts()
        panels = page.eval_on_selector_all(
            ".panel", "all => all.filter((one) => one.offsetHeight).map((one) => one.id)"
        )
        return tabs, panels

    assert shown() == (["Map"], ["map-panel"])
    legend = page.locator("#map .legend").bounding_box()
    assert legend["y"] + legend["height"] <= 844, "the map and its legend fit the screen"
    find_sample(page, index.ids[7])
    page.wait_for_selector("#results figure:nth-child(24)")
    assert shown() == (["Neighbors"], ["results-panel"])
    page.click("#take")
    page.click("#tab-selection")
    assert shown() == (["Selection (24)"], ["selection-panel"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 800})
    # Locators, since a function to wait for is evaluated again in the page, which its policy forbids.
    for panel in page.locator(".panel").all():
        panel.wait_for(state="visible")
    page.close()


_AROUND = ((0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99))


def test_health_needs_no_token_and_metrics_do(catalog: Catalog) -> None:
    with served(catalog, token="s3cret") as port:
        assert fetch_json(port, "/healthz") == {"status": "ok"}
        assert ask(port, "/metrics")[0] == ask(port, "/openapi.json")[0] == 401
        assert ask(port, "/metrics", Authorization="Bearer s3cret")[0] == 200


def test_metrics_count_requests_and_made_up_paths_together(catalog: Catalog) -> None:
    with served(catalog) as port:
        for path in ("/api/search?row=1&k=2", "/api/search?row=2&k=2", "/api/image/1", "/api/image/2", "/x1", "/x2"):
            ask(port, path)
        text = ask(port, "/metrics")[2].decode()
    assert 'aekit_requests_total{method="GET",path="/api/search",status="200"} 2.0' in text
    assert 'aekit_requests_total{method="GET",path="/api/image/ROW",status="200"} 2.0' in text
    assert 'aekit_requests_total{method="GET",path="other",status="404"} 2.0' in text
    assert "aekit_index_vectors 60.0" in text and 'aekit_request_seconds_count{path="/api/search"} 2.0' in text


def test_the_description_of_the_api_names_every_path(catalog: Catalog, port: int) -> None:
    described = fetch_json(port, "/openapi.json")
    app = make_app(catalog, hosts=["localhost"])
    served_paths = {
        (route.path.replace(":int", ""), method)  # type: ignore[attr-defined]
        for route in app.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
        if route.path.startswith(("/api", "/healthz", "/metrics", "/openapi"))  # type: ignore[attr-defined]
    }
    assert {(path, verb.upper()) for path, verbs in described["paths"].items() for verb in verbs} == served_paths
    assert described["info"]["version"] == aekit.__version__


def test_an_index_that_grows_is_served_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "CHECK_SECONDS", 0.05)
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    ids = [f"s{row}" for row in range(40)]

    def build(chosen: slice, folder: Path = tmp_path / "index") -> None:
        vectors = aekit.Embeddings.from_array(rows[chosen], ids=ids[chosen])
        vectors.digest = vectors.manifest["digest"] = "0" * 64
        aekit.build_index(vectors, folder)

    build(slice(30))
    lines: list[str] = []
    catalog = Catalog(open_index(tmp_path / "index"), method="pca")
    with served(catalog, say=lines.append) as port:
        assert fetch_json(port, "/api/index")["count"] == 30
        build(slice(40))
        wait_until(lambda: fetch_json(port, "/api/index")["count"] == 40)
        assert fetch_json(port, "/api/search?row=39&k=1")[0]["row"] < 39
        assert lines == ["the index has grown: 40 samples"]
        build(slice(10, 40))  # other rows: the page addresses samples by their rows
        wait_until(lambda: len(lines) == 2)
        assert "restart aekit serve" in lines[1] and fetch_json(port, "/api/index")["count"] == 40


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, at most 20 s."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
