"""A Hub on loopback that keeps the rules an upload and a download meet: repositories, commits, trees, files."""

import base64
import hashlib
import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from huggingface_hub import ModelCard

COMMIT = "0" * 39 + "1"
TASKS = ("audio-to-audio", "text-to-audio")  # of the Hub; those of this package
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc0-1.0", "other")  # of the Hub; some
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class MockHub(ThreadingHTTPServer):
    """Holds `files[repo_id][path]`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.read_only = False  # tokens may not write
        self.full = False  # commits are refused
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def add(self, repo_id: str, folder: Path) -> None:
        """Make a repository of all that lies in a folder."""
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        self.files[repo_id] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that takes this for the Hub, and `home` for its cache."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}


@contextmanager
def mock_hub() -> Iterator[MockHub]:
    with MockHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()


def blob_id(content: bytes) -> str:
    """The name that git, and with it the Hub, has for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def card_errors(content: str) -> list[str]:
    """What the Hub refuses in the metadata of a card, as far as the documentation of its fields says."""
    data = ModelCard(content).data.to_dict()
    ids = [*data.get("datasets", ()), *([data["base_model"]] if "base_model" in data else ())]
    wrong = {
        "library_name": not isinstance(data.get("library_name"), str),
        "pipeline_tag": data.get("pipeline_tag") not in TASKS,
        "license": data.get("license") not in (None, *LICENSES),
        "tags": not all(isinstance(tag, str) and 0 < len(tag) < 50 for tag in data.get("tags", ())),
        "datasets or base_model": not all(REPO_ID.fullmatch(name) for name in ids),
    }
    errors = [f'"{name}" is wrong' for name, is_wrong in wrong.items() if is_wrong]
    for model in data.get("model-index", ()):
        for result in model["results"]:
            if not (result["task"]["type"] in TASKS and result["dataset"]["type"] and result["dataset"]["name"]):
                errors.append(f'"model-index" has a result without task or data set: {result}')
            if not all(math.isfinite(m["value"]) and m["type"] and m["name"] for m in result["metrics"]):
                errors.append(f'"model-index" has a metric without type, name or value: {result}')
    return errors


class _Handler(BaseHTTPRequestHandler):
    server: MockHub

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes | dict | list, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.strip("/").split("/")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo_id = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.server.files.setdefault(repo_id, {})
            if asked.get("visibility") == "private" or asked.get("private"):
                self.server.private.add(repo_id)
            self.answer({"url": f"{self.server.endpoint}/{repo_id}", "id": repo_id})
        elif self.path == "/api/validate-yaml":
            errors = card_errors(json.loads(body)["content"])
            self.answer("\n".join(errors).encode() if errors else {"warnings": []}, 400 if errors else 200)
        elif parts[4:5] == ["preupload"]:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif parts[4:5] == ["commit"] and self.server.full:
            self.answer({"error": "Private repository storage limit reached"}, 403)
        elif parts[4:5] == ["commit"]:
            repo_id = "/".join(parts[2:4])
            repo = self.server.files[repo_id]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    repo[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    del repo[entry["value"]["path"]]
            self.answer({"commitUrl": f"{self.server.endpoint}/{repo_id}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.answer({"error": f"no such call: {self.path}"}, 404)

    def do_GET(self) -> None:  # noqa: N802
        parts = self.path.split("?")[0].strip("/").split("/")
        repo_id = "/".join(parts[2:4])
        if parts[:2] == ["api", "models"] and repo_id in self.server.files:
            files = self.server.files[repo_id]
            if parts[4:5] == ["auth-check"]:
                self.answer({}, 403 if self.server.read_only else 200)
            elif parts[4:5] == ["tree"]:
                self.answer([{"type": "file", "path": p, "size": len(c), "oid": blob_id(c)} for p, c in files.items()])
            else:
                siblings = [{"rfilename": path} for path in files]
                self.answer({"id": repo_id, "modelId": repo_id, "sha": COMMIT, "siblings": siblings, "tags": []})
        elif parts[2:3] == ["resolve"] and "/".join(parts[4:]) in self.server.files.get("/".join(parts[:2]), {}):
            content = self.server.files["/".join(parts[:2])]["/".join(parts[4:])]
            self.answer(content, ETag=f'"{blob_id(content)}"', X_Repo_Commit=COMMIT)
        else:
            self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")

    do_HEAD = do_GET  # noqa: N815
