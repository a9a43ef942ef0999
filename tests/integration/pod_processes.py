"""What rendered manifests describe, as processes of this machine: containers, volumes, Secrets, probes, Services.

A pod is an address of its own on the loopback network. A container is its command, with this checkout in its image's
place; its mounts are folders, and where a command, an argument or a variable names a mounted path or a Service, it gets
the folder or the pod's address instead. Nothing else differs from what the manifests say.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import math
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from helm_chart import NAMESPACE, ROOT, Manifest, containers
from openwhisk_clients import cache_directory

from kaas_local.seaweedfs import Ports

#: Where an image's entry point is written, by the image.
DOCKERFILES = {"kaas/action-kaas-v1": ROOT / "runtime" / "openwhisk" / "Dockerfile"}

#: The bundled store's. Whatever address it is given, SeaweedFS takes its port on 127.0.0.1 as well, where another
#: store may have it, so that it gets another one here.
_STORE_PORT = 8333

_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_addresses = (
    f"127.{64 + (os.getpid() >> 8) % 128}.{os.getpid() % 256}.{number}" for number in itertools.cycle(range(2, 255))
)


class Container:
    """One container's process."""

    def __init__(self, pod: Pod, spec: Manifest) -> None:
        self.pod = pod
        self.name: str = spec["name"]
        self._spec = spec
        self.log = pod.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._mounts = {mount["mountPath"]: pod.volume(mount["name"]) for mount in spec.get("volumeMounts", [])}

    def start(self) -> None:
        """Start the process; what it says is in its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_for_port(self) -> None:
        """Wait until its port takes connections, as OpenWhisk does for want of a probe."""
        self._wait_until({"tcpSocket": {}, "failureThreshold": 60, "periodSeconds": 1}, "port")

    def wait(self, seconds: float) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, as the kubelet sends it; the exit status. What does not end is killed."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def wait_for(self, kind: str) -> None:
        """Wait until a probe of that kind succeeds, for as long as it may fail; where there is one."""
        if kind in self._spec:
            self._wait_until(self._spec[kind], kind)

    def _wait_until(self, probe: Manifest, kind: str) -> None:
        patience = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) + probe.get("timeoutSeconds", 1)
        deadline = time.monotonic() + max(patience, _STOP_SECONDS)
        while not self._succeeds(probe):
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} has ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name}'s {kind} never succeeded:\n{self.log.read_text()}"
            time.sleep(_POLL_SECONDS)  # The kubelet's own period; nothing tells.

    def _succeeds(self, probe: Manifest) -> bool:
        timeout = max(probe.get("timeoutSeconds", 1), 10)
        with contextlib.suppress(OSError):
            if "exec" in probe:
                words = self._words(probe["exec"]["command"])
                done = subprocess.run(words, env=self._environment(), timeout=timeout, check=False, capture_output=True)
                return done.returncode == 0
            kind, probe = next((kind, probe[kind]) for kind in ("httpGet", "tcpSocket") if kind in probe)
            port = self._port(probe.get("port"))
            if kind == "tcpSocket":
                socket.create_connection((self.pod.address, port), timeout).close()
                return True
            # The kubelet does not look at certificates either.
            url = f"{probe.get('scheme', 'HTTP').lower()}://{self.pod.address}:{port}{probe['path']}"
            with urllib.request.urlopen(url, timeout=timeout, context=ssl._create_unverified_context()) as answer:
                return bool(answer.status < 400)
        return False

    def _port(self, port: int | str | None) -> int:
        ports: list[Manifest] = self._spec["ports"]
        chosen = [one for one in ports if port in (None, one.get("name"), one["containerPort"])]
        found = int(chosen[0]["containerPort"])
        return self.pod.cluster.ports.s3 if found == _STORE_PORT else found

    def _command(self) -> list[str]:
        words = self._spec.get("command")
        if words is None:
            dockerfile = DOCKERFILES[self._spec["image"].rpartition(":")[0]].read_text()
            words = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[-1])
        return self._words([*words, *self._spec.get("args", [])])

    def _words(self, words: list[str]) -> list[str]:
        program, *rest = (self._here(word) for word in words)
        if program in ("python", "python3"):
            program = sys.executable
        elif not Path(program).is_absolute():
            program = str(Path(sysconfig.get_path("scripts"), program))
        # An image's Python finds its packages by the environment, and -I looks at none.
        return [program, *rest]

    def _environment(self) -> dict[str, str]:
        found = {"PATH": os.environ["PATH"]}
        if "PYTHONPATH" in os.environ:
            found["PYTHONPATH"] = os.environ["PYTHONPATH"]
        for variable in self._spec.get("env", []):
            found[variable["name"]] = self._here(self._value(variable))
        return found

    def _value(self, variable: Manifest) -> str:
        if "value" in variable:
            return str(variable["value"])
        (kind, reference), *_ = variable["valueFrom"].items()
        if kind == "secretKeyRef":
            return self.pod.cluster.secret(reference["name"])[reference["key"]].decode()
        assert reference["resource"] == "limits.cpu"
        cores = str(self._spec["resources"]["limits"]["cpu"])
        return str(math.ceil(float(cores.removesuffix("m")) / (1000 if cores.endswith("m") else 1)))

    def _here(self, text: str) -> str:
        own = dict.fromkeys(["0.0.0.0", "127.0.0.1"], self.pod.address)
        return self.pod.cluster.resolve(text, own | {path: str(folder) for path, folder in self._mounts.items()})


class Pod:
    """The containers of one pod, and its volumes."""

    def __init__(self, cluster: Cluster, name: str, spec: Manifest) -> None:
        self.cluster = cluster
        self.name = name
        self.address = next(_addresses)
        # Short: a socket's path has at most 107 bytes.
        self.directory = cluster.directory / self.address.rpartition(".")[2]
        self.directory.mkdir()
        self._spec = spec
        self.containers: dict[str, Container] = {}
        assert spec["enableServiceLinks"] is False, "else there would be variables more"

    def start(self) -> None:
        """Start all containers in the kubelet's order; a sidecar first, until its start-up probe succeeds."""
        for spec in containers(self._spec):
            container = self.containers[spec["name"]] = Container(self, spec)
            container.start()
            if spec in self._spec.get("initContainers", []):
                assert spec["restartPolicy"] == "Always"
                container.wait_for("startupProbe")

    def wait_until_ready(self) -> None:
        """Wait for the start-up and readiness probes, and see that the liveness probes agree."""
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            for container in self.containers.values():
                container.wait_for(kind)

    def stop(self) -> dict[str, int]:
        """End the pod in the kubelet's order: sidecars last. The exit statuses by container."""
        return {container.name: container.stop() for container in reversed(self.containers.values())}

    def volume(self, name: str) -> Path:
        """A volume's folder, made at its first use."""
        (volume,) = [volume for volume in self._spec["volumes"] if volume["name"] == name]
        if "persistentVolumeClaim" in volume:
            return self.cluster.claim(volume["persistentVolumeClaim"]["claimName"])
        folder = self.directory / name
        if folder.exists():
            return folder
        folder.mkdir()
        if "secret" in volume:
            data = self.cluster.secret(volume["secret"]["secretName"])
            keys = [item["key"] for item in volume["secret"].get("items", [])] or data
            for key in keys:
                # As with an fsGroup: its files are the group's to read, whatever the default mode.
                self._write(folder / key, data[key], volume["secret"].get("defaultMode", 0o644) | 0o440)
        elif "configMap" in volume:
            for key, text in self.cluster.find("ConfigMap", volume["configMap"]["name"])["data"].items():
                self._write(folder / key, text.encode(), 0o644)
        else:
            assert volume.keys() == {"name", "emptyDir"}
            folder.chmod(0o2777)
        return folder

    def _write(self, path: Path, data: bytes, mode: int) -> None:
        # A store's file names a Service.
        with contextlib.suppress(UnicodeDecodeError):
            data = self.cluster.resolve(data.decode(), {}).encode()
        path.write_bytes(data)
        path.chmod(mode)


class Cluster:
    """The manifests of a release, and Secrets that somebody else made, in one namespace; use as a context manager."""

    def __init__(
        self, directory: Path, manifests: list[Manifest], secrets: Mapping[str, Mapping[str, bytes]] | None = None
    ) -> None:
        self.directory = directory
        self.manifests = manifests
        self._secrets = secrets or {}
        self.pods: dict[str, Pod] = {}
        self.ports = Ports.choose()
        self._services = {
            f"{one['metadata']['name']}.{NAMESPACE}.svc": one["spec"]
            for one in manifests
            if (one["apiVersion"], one["kind"]) == ("v1", "Service")
        }
        self._placed = {
            one["metadata"]["name"]: Pod(self, one["metadata"]["name"], one["spec"]["template"]["spec"])
            for one in manifests
            if "template" in one.get("spec", {})
        }
        self._placed |= {
            one["metadata"]["name"]: Pod(self, one["metadata"]["name"], one["spec"])
            for one in manifests
            if one["kind"] == "Pod"
        }

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for pod in reversed(self.pods.values()):
            pod.stop()
        self.ports.close()

    def start(self, name: str) -> Pod:
        """Start a pod by its name."""
        pod = self.pods[name] = self._placed[name]
        pod.start()
        return pod

    def find(self, kind: str, name: str) -> Manifest:
        """A manifest."""
        (found,) = [one for one in self.manifests if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def secret(self, name: str) -> Mapping[str, bytes]:
        """A Secret's data."""
        if name in self._secrets:
            return self._secrets[name]
        return {key: base64.b64decode(value) for key, value in self.find("Secret", name)["data"].items()}

    def claim(self, name: str) -> Path:
        """A claim's volume, which outlives pods. An emulated driver is in it already: building it takes minutes."""
        folder = self.directory / "claims" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "cache").symlink_to(cache_directory())
        return folder

    def address(self, name: str) -> str:
        """A pod's address, started or not."""
        return self._placed[name].address

    def resolve(self, text: str, here: Mapping[str, str]) -> str:
        """A text with what stands here for its paths and addresses, and with pods' addresses for Services' names."""
        names = {**here, **{service: self._pod_of(spec) for service, spec in self._services.items()}}
        names[str(_STORE_PORT)] = str(self.ports.s3)
        choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])({choices})(?![\w.-])", lambda found: names[found[1]], text)

    def _pod_of(self, service: Manifest) -> str:
        # One that is no manifest's: a name for a pod.
        if "pod" in service:
            return self.address(service["pod"])
        for one in self.manifests:
            if "template" not in one.get("spec", {}):
                continue
            labels = one["spec"]["template"]["metadata"]["labels"]
            if service["selector"].items() <= labels.items():
                pod = one["spec"]["template"]["spec"]
                named = {
                    port["name"]: port["containerPort"] for each in containers(pod) for port in each.get("ports", [])
                }
                # The pod's address stands for the Service's, so the ports have to be the same.
                assert all(named[port["targetPort"]] == port["port"] for port in service["ports"])
                return self.address(one["metadata"]["name"])
        raise AssertionError(f"a Service selects nothing: {service}")


@contextlib.contextmanager
def running(cluster: Cluster, *names: str) -> Iterator[dict[str, Pod]]:
    """Start pods one after the other, each ready before the next, and stop them all at the end."""
    with cluster:
        for name in names:
            cluster.start(name).wait_until_ready()
        yield cluster.pods
