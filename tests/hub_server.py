"""A stand-in on loopback for the part of the Hugging Face Hub's API that pushing and reading use."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_SecretOfTheTests"


@dataclass
class Repository:
    """A repository: its commits, whose files are kept whole, and its branches."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        content = f"{self.branches.get(branch)}{message}{sorted(files)}{len(self.commits)}"
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        self.messages.append(message)
        return commit


@dataclass
class Hub:
    """The server as its clients see it.

    Attributes:
        endpoint: its URL, for ``HF_ENDPOINT``.
        repositories: by type and name, such as "models/user/model".
        requests: (method, path) of all requests so far.
        fault: returns the status with which a request fails, or 0.
        before_commit: is called when a commit arrives.
    """

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], int] = lambda method, path: 0
    before_commit: Callable[[], object] = lambda: None


def git_blob(content: bytes) -> str:
    """Return the hash by which git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run the stand-in."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *arguments: _Handler(hub, *arguments))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.respond()

    def do_HEAD(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def respond(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path))
        body = self.body()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if status := self.hub.fault(self.command, path):
            return self.say(status, {"error": "planted"})
        if token not in ("", TOKEN):
            return self.say(401, {"error": "Invalid credentials in Authorization header"})
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "validate-yaml"]:
            return self.say(200, {"errors": [], "warnings": []})
        if parts[:3] == ["api", "repos", "create"]:
            return self.create(json.loads(body), token)
        if parts[0] == "api":
            kind, name, (action, *details) = parts[1], "/".join(parts[2:4]), (parts[4:] or [""])
        else:
            kind, name, (action, *details) = "models", "/".join(parts[:2]), parts[2:]
        repository = self.hub.repositories.get(f"{kind}/{name}")
        if repository is None or (repository.private and not token):
            headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            return self.say(404 if token else 401, {"error": "Repository not found"}, headers)
        if self.command == "POST" and action != "paths-info" and not token:
            return self.say(401, {"error": "Unauthorized"})
        if action == "branch":
            repository.branches[details[0]] = repository.branches["main"]
            return self.say(200, {})
        revision = details[0] if details else "main"
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self.say(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        files, inner = repository.commits[commit], "/".join(details[1:])
        if action in ("", "revision"):
            return self.say(200, {"id": name, "sha": commit, "private": repository.private, "siblings": []})
        if action == "tree":
            recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
            return self.tree(files, inner, recursive)
        if action == "paths-info":
            paths = parse_qs(body.decode())["paths"]
            return self.say(200, [entry for entry in _entries(files, "", True) if entry["path"] in paths])
        if action == "preupload":
            return self.preupload(files, json.loads(body))
        if action == "commit":
            return self.commit(repository, revision, body)
        if action == "resolve" and inner in files:
            tag = {"ETag": f'"{git_blob(files[inner])}"', "X-Repo-Commit": commit}
            return self.send(200, files[inner], tag)
        return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def create(self, request: dict[str, Any], token: str) -> None:
        if not token:
            return self.say(401, {"error": "Unauthorized"})
        if request["organization"] != "user":
            return self.say(403, {"error": "You don't have the rights to create a model under this namespace"})
        name = f"{request['organization']}/{request['name']}"
        key = f"{request.get('type', 'model')}s/{name}"
        url = f"{self.hub.endpoint}/{name}"
        if key in self.hub.repositories:
            return self.say(409, {"error": "You already created this repo", "url": url})
        repository = self.hub.repositories[key] = Repository(request.get("visibility") == "private")
        repository.add("main", {".gitattributes": b"*.bin filter=lfs\n"}, "initial commit")
        return self.say(200, {"url": url})

    def tree(self, files: dict[str, bytes], folder: str, recursive: bool) -> None:
        entries = _entries(files, f"{folder}/" if folder else "", recursive)
        if folder and not entries:
            return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        return self.say(200, entries)

    def preupload(self, files: dict[str, bytes], request: dict[str, Any]) -> None:
        ignored = files.get(".gitignore", b"").decode().split()
        answers = []
        for file in request["files"]:
            path = file["path"]
            oid = git_blob(files[path]) if path in files else None
            answers.append({"path": path, "uploadMode": "regular", "shouldIgnore": path in ignored, "oid": oid})
        self.say(200, {"files": answers})

    def commit(self, repository: Repository, branch: str, body: bytes) -> None:
        self.hub.before_commit()
        header, *operations = [json.loads(line) for line in body.splitlines()]
        files = dict(repository.commits[repository.branches[branch]])
        if header["value"].get("parentCommit") not in (None, repository.branches[branch]):
            return self.say(412, {"error": "A commit has happened since. Please refresh and try again."})
        for operation in operations:
            assert operation["key"] == "file", operation
            files[operation["value"]["path"]] = base64.b64decode(operation["value"]["content"])
        oid = repository.add(branch, files, header["value"]["summary"])
        return self.say(200, {"commitUrl": f"{self.hub.endpoint}/user/model/commit/{oid}", "commitOid": oid})

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entries(files: dict[str, bytes], start: str, recursive: bool) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if not path.startswith(start):
            continue
        first, *inner = path.removeprefix(start).split("/")
        for depth in range(len(inner) if recursive else min(1, len(inner))):
            folder = start + "/".join([first, *inner][: depth + 1])
            entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": git_blob(folder.encode())}
        if recursive or not inner:
            entries[path] = {"type": "file", "path": path, "size": len(content), "oid": git_blob(content)}
    return list(entries.values())
