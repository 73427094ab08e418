"""A Hugging Face hub of local folders: as much of its protocol as a download needs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Hub:
    """Repositories, each with its revisions.

    Args:
        repositories: "owner/name" → a branch, tag or commit → its folder.
        private: repositories that ask for TOKEN.
        broken: repositories whose weights end in the middle.
    """

    TOKEN = "hf_secret"

    def __init__(
        self,
        repositories: Mapping[str, Mapping[str, Path]],
        private: tuple[str, ...] = (),
        broken: tuple[str, ...] = (),
    ):
        self.repositories, self.private, self.broken = repositories, private, broken
        self.asked: list[str] = []

    def find_commit(self, name: str, revision: str) -> str | None:
        """40 hexadecimal digits, of a revision or of themselves."""
        found = self.repositories.get(name, {})
        commits = {one: hashlib.sha1(f"{name}@{folder}".encode()).hexdigest() for one, folder in found.items()}
        return commits.get(revision) or (revision if revision in commits.values() else None)

    def find_folder(self, name: str, commit: str) -> Path | None:
        revisions = self.repositories.get(name, {})
        return next((path for one, path in revisions.items() if self.find_commit(name, one) == commit), None)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Its address, while it runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *arguments: Any) -> None:
        """Nothing is printed."""

    def _answer(self, body: bool) -> None:
        path = unquote(self.path).partition("?")[0].strip("/")
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if name not in self.hub.repositories or (
            name in self.hub.private and self.headers.get("Authorization") != f"Bearer {Hub.TOKEN}"
        ):
            self._send(401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"}, body)
            return
        if api:
            self._describe(name, parts[4:], body)
            return
        revision, file = parts[3], "/".join(parts[4:])
        commit = self.hub.find_commit(name, revision)
        folder = commit and self.hub.find_folder(name, commit)
        if not folder:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
        elif not (folder / file).is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, body)
        else:
            content = (folder / file).read_bytes()
            tag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit}, body, name)

    def _describe(self, name: str, rest: list[str], body: bool) -> None:
        """The answers of /api/models/owner/name/revision/… and …/tree/…"""
        revision = rest[1] if len(rest) > 1 else "main"
        commit = self.hub.find_commit(name, revision)
        folder = commit and self.hub.find_folder(name, commit)
        if not folder:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        found: Any = {"id": name, "sha": commit, "siblings": [{"rfilename": one} for one in names]}
        if rest[:1] == ["tree"]:
            found = [
                {"type": "file", "path": one, "size": path.stat().st_size, "oid": commit}
                for one, path in zip(names, files, strict=True)
            ]
        self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], body: bool, name: str = "") -> None:
        start = 0
        if status == 200 and (asked := self.headers.get("Range", "")).startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            status, headers = 206, {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if body:
            broken = name in self.hub.broken and self.path.endswith(".safetensors")
            self.wfile.write(content[start : start + 100] if broken else content[start:])
            self.close_connection = broken
