"""OCI image archives from a folder, without registry or daemon: for the pause image and for small test images.

Called by `node` and the scenarios. The project's own images are built from their Dockerfiles, elsewhere.
"""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What an image may set for its processes: Entrypoint, Cmd, User, Env, WorkingDir.
Settings = Mapping[str, Any]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PAUSE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def pause(folder: Path) -> Path:
    """A static program that does nothing but wait and reap: process 1 of each pod's sandbox, and of the enclosure."""
    program = folder / "pause"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "pause.partial"
        compile_ = ["gcc", "-static", "-Os", "-s", "-x", "c", "-o", str(partial), "-"]
        subprocess.run(compile_, input=_PAUSE, text=True, check=True)
        partial.replace(program)
    return program


def archive(out: Path, name: str, root: Path, settings: Settings) -> Path:
    """Write an image of one uncompressed layer with the contents of `root`; the same contents give the same bytes."""
    layer = _layer(root)
    machine = {"architecture": _ARCHITECTURES[platform.machine()], "os": "linux"}
    rootfs = {"type": "layers", "diff_ids": [_digest(layer)]}
    config = _json({**machine, "config": dict(settings), "rootfs": rootfs})
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry |= {"platform": machine, "annotations": {"io.containerd.image.name": name}}
    index = _json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", index)
        for blob in (config, manifest, layer):
            _add(tar, "blobs/" + _digest(blob).replace(":", "/"), blob)
    return out


def _layer(root: Path) -> bytes:
    """The folder as a tar, everything owned by root and without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(root.rglob("*")):
            member = tar.gettarinfo(path, os.path.relpath(path, root))
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            if member.isreg():
                with path.open("rb") as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
    return buffer.getvalue()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add(tar: tarfile.TarFile, name: str, blob: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(blob)
    tar.addfile(member, io.BytesIO(blob))
