"""What is beside the code for running it names what the code has. No container engine runs here."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deputize.cli.main import app
from deputize.client import evidence
from deputize.config import ServerSettings
from deputize.config.environment import RESERVED, scalars
from deputize.keys.anchor import VARIABLE
from deputize.server.openapi_rows import ROWS
from deputize.server.run import GRACE
from tools.tree import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")))
KNOWN = {VARIABLE, *RESERVED, *(scalar.name for scalar in scalars())}
PORT = ServerSettings().port
PATHS = {row.path for row in ROWS}


def of_kind(kind: str) -> Any:
    (found,) = [item for item in KUBERNETES if item["kind"] == kind]
    return found


def accepted(arguments: list[str]) -> bool:
    """Whether the command line knows these arguments."""
    options = {word for word in arguments if word.startswith("--")}
    said = CliRunner().invoke(app, [arguments[0], "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return said.exit_code == 0 and all(option in said.stdout for option in options)


def test_the_image_runs_a_command_that_exists_on_the_port_it_says_as_nobody_in_particular() -> None:
    command = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert command is not None
    assert accepted(yaml.safe_load(command[1]))
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert re.search(r"^USER [1-9][0-9]*$", DOCKERFILE, re.MULTILINE)
    assert "ANCHOR" not in DOCKERFILE


def test_compose_names_variables_that_are_read_and_keeps_the_port_on_this_machine() -> None:
    service = COMPOSE["services"]["deputize"]
    assert set(service["environment"]) <= KNOWN
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert f"127.0.0.1:{PORT}/readyz" in service["healthcheck"]["test"][-1]
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACE
    assert all(
        str(value).startswith("${") for name, value in service["environment"].items() if name != "DEPUTIZE_STORE_URL"
    )


def test_pods_run_as_nobody_on_a_root_that_cannot_be_written() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert of_kind("Deployment")["spec"]["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]


def test_pods_are_probed_at_paths_that_exist_and_have_the_time_to_end() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert accepted(container["args"])
    assert {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")} <= PATHS
    assert container["ports"][0]["containerPort"] == PORT == of_kind("Service")["spec"]["ports"][0]["port"]
    assert pod["terminationGracePeriodSeconds"] > GRACE + 5
    assert of_kind("PodDisruptionBudget")["spec"]["minAvailable"] == 1


def test_the_anchor_comes_from_a_secret_and_nothing_else_is_secret_in_the_file() -> None:
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item for item in container["env"]}
    assert set(variables) <= KNOWN
    assert all("secretKeyRef" in item["valueFrom"] for item in variables.values())
    assert VARIABLE in variables


def test_an_agents_pod_mounts_its_token_where_the_client_looks_for_it() -> None:
    pod = of_kind("Pod")["spec"]
    (container,) = pod["containers"]
    (source,) = pod["volumes"][0]["projected"]["sources"]
    folder = container["volumeMounts"][0]["mountPath"]
    assert f"{folder}/{source['serviceAccountToken']['path']}" == evidence.KUBERNETES_TOKEN
    policy = of_kind("NetworkPolicy")["spec"]
    assert (
        policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
        <= of_kind("Pod")["metadata"]["labels"].items()
    )


@pytest.mark.deep
def test_the_build_steps_of_the_image_run_in_an_empty_environment(tmp_path: Path) -> None:
    """The RUN lines, with another folder in place of the image's own."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=ROOT / "packages" / "core", check=True, capture_output=True)
    steps = [line for line in re.findall(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE) if "/opt/deputize" in line]
    assert len(steps) == 2
    for step in steps:
        line = step.replace("/opt/deputize", str(tmp_path / "installed")).replace("python -m", f"{sys.executable} -m")
        subprocess.run(["sh", "-ec", line], cwd=tmp_path, check=True, capture_output=True)
    found = subprocess.run(
        [str(tmp_path / "installed" / "bin" / "deputize"), "serve", "--help"],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert "--workers" in found.stdout
