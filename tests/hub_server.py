"""A Hugging Face Hub on 127.0.0.1, for tests: it speaks as much of the Hub's REST as its client uses for models.

Repositories are made, written in commits (small files inside the request, large ones by git-LFS), read at a branch, a
tag or a commit, listed, and, if private, refused without the token. Everything is in memory. It imitates the wire
format as huggingface_hub uses it (without Xet: HF_HUB_DISABLE_XET=1), and proves our code and the client, not the Hub.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"
LARGE = 10_000
"""Files of at least so many bytes go by git-LFS, and so do weights."""

Files = dict[str, bytes]


@dataclass
class Repository:
    """The commits of a repository, oldest first, each with all its files; and names of commits."""

    private: bool
    commits: list[tuple[str, Files, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, message: str) -> str:
        identity = hashlib.sha1(f"{len(self.commits)}{message}{sorted(files)}".encode()).hexdigest()
        self.commits.append((identity, files, message))
        self.names["main"] = identity
        return identity

    def find(self, revision: str) -> tuple[str, Files] | None:
        wanted = self.names.get(revision, revision)
        return next(((identity, files) for identity, files, _ in self.commits if identity == wanted), None)


class Hub:
    """The server and what it holds: use it as a context; `url` is for HF_ENDPOINT."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: Files = {}
        self.requests: list[str] = []
        self.cuts: dict[str, int] = {}  # after how many bytes the download of a large file ends
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def cut(self, content: bytes, length: int) -> None:
        """Let downloads of this file end after so many bytes."""
        self.cuts[sha256(content)] = length

    def __enter__(self) -> "Hub":
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class RefusedError(Exception):
    """An answer other than what was asked for."""

    def __init__(self, status: int, code: str = "", **content: Any) -> None:
        self.status, self.code, self.content = status, code, content


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            for method, pattern, answer in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and (self.command == method or (self.command, method) == ("HEAD", "GET")):
                    answer(self, **match.groupdict())
                    return
            raise RefusedError(404, error=f"no route for {path}")
        except RefusedError as refused:
            headers = {"X-Error-Code": refused.code} if refused.code else {}
            self.reply(refused.content, refused.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def reply(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send JSON or bytes."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        chosen = {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}
        for name, value in chosen.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def logged_in(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def need_token(self) -> None:
        if not self.logged_in:
            raise RefusedError(401, error="Invalid username or password.")

    def repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.logged_in):
            raise RefusedError(404 if self.logged_in else 401, "RepoNotFound", error="Repository not found")
        return found

    def revision(self, name: str, revision: str) -> tuple[str, Files]:
        found = self.repository(name).find(revision)
        if found is None:
            raise RefusedError(404, "RevisionNotFound", error=f"Invalid rev id: {revision}")
        return found

    def create(self) -> None:
        self.need_token()
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if name in self.hub.repositories:
            raise RefusedError(409, error="You already created this model repo", **answer)
        made = self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        made.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.reply(answer)

    def validate_yaml(self) -> None:
        self.reply({"errors": [], "warnings": []})

    def who(self) -> None:
        self.need_token()
        self.reply({"type": "user", "name": "someone", "orgs": [{"name": "org"}], "auth": {"type": "access_token"}})

    def preupload(self, name: str, revision: str) -> None:
        self.need_token()
        _, files = self.revision(name, revision)
        answers = []
        for file in json.loads(self.body)["files"]:
            large = file["size"] >= LARGE or file["path"].endswith(".safetensors")
            old = files.get(file["path"])
            identity = None if old is None else (sha256(old) if large else blob(old))
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": identity})
        self.reply({"files": answers})

    def batch(self, name: str) -> None:
        self.need_token()
        objects: list[dict[str, Any]] = []
        for asked in json.loads(self.body)["objects"]:
            place = {"href": f"{self.hub.url}/lfs/{asked['oid']}", "header": {}}
            new = asked["oid"] not in self.hub.large
            objects.append({**asked, **({"actions": {"upload": place, "verify": place}} if new else {})})
        self.reply({"transfer": "basic", "objects": objects}, headers={"Content-Type": "application/vnd.git-lfs+json"})

    def upload(self, identity: str) -> None:
        if sha256(self.body) != identity:
            raise RefusedError(400, error="the content is another")
        self.hub.large[identity] = self.body
        self.reply({})

    def verify(self, identity: str) -> None:
        size = len(self.hub.large.get(identity, b""))
        if size != json.loads(self.body)["size"]:
            raise RefusedError(404, error="not uploaded")
        self.reply({})

    def commit(self, name: str, revision: str) -> None:
        self.need_token()
        _, files = self.revision(name, revision)
        files, message = dict(files), ""
        for line in self.body.splitlines():
            asked = json.loads(line)
            value = asked["value"]
            if asked["key"] == "header":
                message = value["summary"]
            elif asked["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif asked["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif asked["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise RefusedError(400, error=f"unknown operation {asked['key']}")
        identity = self.repository(name).commit(files, message)
        self.reply({"success": True, "commitOid": identity, "commitUrl": f"{self.hub.url}/{name}/commit/{identity}"})

    def tag(self, name: str, revision: str) -> None:
        self.need_token()
        identity, _ = self.revision(name, revision)
        self.repository(name).names[json.loads(self.body)["tag"]] = identity
        self.reply({})

    def info(self, name: str, revision: str = "main") -> None:
        identity, files = self.revision(name, revision)
        siblings = [{"rfilename": path} for path in sorted(files)]
        private = self.repository(name).private
        self.reply({"id": name, "modelId": name, "sha": identity, "private": private, "siblings": siblings})

    def tree(self, name: str, revision: str) -> None:
        _, files = self.revision(name, revision)
        rows = []
        for path, content in sorted(files.items()):
            large = {"lfs": {"oid": sha256(content), "size": len(content), "pointerSize": 130}}
            row = {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
            rows.append({**row, **(large if is_large(path, content) else {})})
        self.reply(rows)

    def resolve(self, name: str, revision: str, path: str) -> None:
        identity, files = self.revision(name, revision)
        if path not in files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": identity}
            self.reply({"error": "Entry not found"}, 404, headers)
            return
        content = files[path]
        if not is_large(path, content):
            self.reply(content, headers={"X-Repo-Commit": identity, "ETag": f'"{blob(content)}"'})
            return
        self.hub.large[sha256(content)] = content
        linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
        elsewhere = f"http://localhost:{self.hub.port}/lfs/{sha256(content)}"  # the client follows its own host itself
        self.reply(b"", 302, {"X-Repo-Commit": identity, "Location": elsewhere, **linked})

    def download(self, identity: str) -> None:
        content = self.hub.large[identity]
        self.reply(content[: self.hub.cuts.get(identity, len(content))], headers={"ETag": f'"{identity}"'})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> str:
    """Git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, content: bytes) -> bool:
    return len(content) >= LARGE or path.endswith(".safetensors")


_NAME, _REVISION = r"(?P<name>[\w.-]+/[\w.-]+)", r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate_yaml),
    ("GET", "/api/whoami-v2", Handler.who),
    ("POST", f"/api/models/{_NAME}/preupload/{_REVISION}", Handler.preupload),
    ("POST", f"/api/models/{_NAME}/commit/{_REVISION}", Handler.commit),
    ("POST", f"/api/models/{_NAME}/tag/{_REVISION}", Handler.tag),
    ("GET", f"/api/models/{_NAME}", Handler.info),
    ("GET", f"/api/models/{_NAME}/revision/{_REVISION}", Handler.info),
    ("GET", f"/api/models/{_NAME}/tree/{_REVISION}", Handler.tree),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/(?P<identity>[0-9a-f]{64})", Handler.upload),
    ("POST", "/lfs/(?P<identity>[0-9a-f]{64})", Handler.verify),
    ("GET", "/lfs/(?P<identity>[0-9a-f]{64})", Handler.download),
    ("GET", f"/{_NAME}/resolve/{_REVISION}/(?P<path>.+)", Handler.resolve),
]
