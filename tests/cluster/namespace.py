"""A namespace of a real cluster: kubectl and helm in it, releases of the chart, a client of their pool."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kaas.client import PoolClient, bearer

CHART = Path(__file__).parents[2] / "helm" / "kaas"

#: For trying it on any cluster, as the chart's README has it.
TRIAL = {
    "device": "emulated",
    "emulator.allowArbitraryHostCode": True,
    "store.bundled.enabled": True,
    "tls.allowPlaintext": True,
}


class CommandFailed(AssertionError):
    """kubectl or helm ended with another status than 0; the text is what it said."""


@dataclass(frozen=True)
class Namespace:
    name: str
    helm_binary: Path

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints. Raises CommandFailed."""
        return _run(["kubectl", "--namespace", self.name, *words], stdin)

    def helm(self, *words: str) -> str:
        """What helm prints. Raises CommandFailed."""
        return _run([str(self.helm_binary), "--namespace", self.name, *words])

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        return found

    def names(self, kind: str) -> set[str]:
        return {line.partition("/")[2] for line in self.kubectl("get", kind, "--output", "name").splitlines()}

    def wait(self, what: str, condition: str, seconds: int = 120) -> None:
        """Until the condition, in the form of `kubectl wait --for`, holds of KIND/NAME. Raises CommandFailed."""
        self.kubectl("wait", what, f"--for={condition}", f"--timeout={seconds}s")

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        self.kubectl(
            "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        )

    def secret(self, name: str, **files: str | bytes) -> None:
        """Make a Secret; a dot in a file's name is written as two underscores."""
        data = {key.replace("__", "."): base64.b64encode(_bytes(text)).decode() for key, text in files.items()}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})

    def pod(self, name: str, program: str, image: str) -> None:
        """Start a pod that runs a Python program, and has no more rights than the strictest kind of namespace gives."""
        locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
        command = ["python3", "-uc", program]
        container = {"name": name, "image": image, "command": command, "securityContext": locked}
        spec = {"securityContext": user, "containers": [container]}
        labels = {"kaas.test/pod": name}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
        self.wait(f"pod/{name}", "condition=Ready")

    def certificate(self, name: str, host: str) -> None:
        """Make a Secret with a certificate for a host, signed by itself."""
        with TemporaryDirectory() as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            command = (
                f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kaas -addext subjectAltName=DNS:{host}"
            )
            _run([*command.split(), "-keyout", str(key), "-out", str(certificate)])
            authority = certificate.read_bytes()
            self.secret(name, tls__crt=authority, tls__key=key.read_bytes(), ca__crt=authority)

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[int]:
        """A port here that leads to one there."""
        command = ["kubectl", "--namespace", self.name, "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
                assert found is not None, line
                yield int(found[1])
            finally:
                process.terminate()


@dataclass(frozen=True)
class Release:
    namespace: Namespace
    name: str

    @property
    def fullname(self) -> str:
        return self.name if self.name == "kaas" else f"{self.name}-kaas"

    def upgrade(self, values: Mapping[str, Any], *more: str) -> str:
        """Install it, or bring it to these values; what helm prints, the notes."""
        words = [word for key, value in values.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
        return self.namespace.helm("upgrade", "--install", self.name, str(CHART), *words, *more)

    def wait(self, seconds: int = 600) -> None:
        """Until the pool of the present values serves."""
        self.namespace.kubectl("rollout", "status", f"statefulset/{self.fullname}", f"--timeout={seconds}s")

    def pod(self) -> dict[str, Any]:
        return self.namespace.get("pod", f"{self.fullname}-0")

    def reasons(self) -> str:
        """The events of its pod, as `kubectl describe pod` tells them."""
        events = json.loads(self.namespace.kubectl("get", "events", "--output", "json"))["items"]
        mine = [one for one in events if one["involvedObject"]["name"] == f"{self.fullname}-0"]
        return "\n".join(f"{one['reason']}: {one['message']}" for one in mine)

    @contextmanager
    def client(self) -> Iterator[PoolClient]:
        """A client as the notes set one up: through a forwarded port, with the token that the chart made."""
        token = base64.b64decode(self.namespace.get("secret", f"{self.fullname}-client")["data"]["token"]).decode()
        there = self.namespace.forward(f"service/{self.fullname}", 7233)
        with there as port, PoolClient(f"http://127.0.0.1:{port}", bearer(token)) as pool:
            yield pool


def _run(command: list[str], stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
