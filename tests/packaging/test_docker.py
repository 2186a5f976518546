"""The image recipe has no findings of hadolint, copies what exists, and the compose file fits together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chaos.cluster import MASTER, WORKER

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
RECIPE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
# of the Compose specification, those that the file uses
KEYS = {
    "build", "command", "depends_on", "deploy", "environment", "healthcheck", "hostname", "image", "ports", "profiles",
    "restart", "volumes", "working_dir",
}  # fmt: skip
STAGES = re.findall(r"^FROM \S+ AS (\S+)$", RECIPE, re.MULTILINE)


def stage(name: str) -> str:
    """The instructions of a stage of the image recipe."""
    return re.split(r"^FROM ", RECIPE.partition(f" AS {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_hadolint_finds_nothing():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKER / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_starts_from_a_digest_or_a_stage_and_runs_without_root():
    base = re.search(r"^ARG DEBIAN=(\S+)$", RECIPE, re.MULTILINE)[1]
    assert re.fullmatch(r"debian:bookworm-slim@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", RECIPE, re.MULTILINE)) <= {"${DEBIAN}", *STAGES}
    assert STAGES[-1] == "job"  # of a build without a target
    for image in ("job", "trainer"):
        assert re.findall(r"^USER (\S+)$", stage(image), re.MULTILINE)[-1] == "185"


def test_what_the_recipe_copies_and_sets_exists():
    copied = {path for line in re.findall(r"^COPY ([^-].*)$", RECIPE, re.MULTILINE) for path in line.split()[:-1]}
    assert all((ROOT / path).exists() for path in copied)
    allowed = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied == allowed
    assert "WORLDCURATE_COMPILED=/opt/worldcurate/compiled" in RECIPE
    assert "NUMBA_CACHE_DIR=/opt/worldcurate/compiled" in RECIPE


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_complete_and_waits_for_healthy_services(name):
    service = SERVICES[name]
    assert service.keys() <= KEYS
    if name in OURS:
        assert service["build"]["target"] in STAGES
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")
    else:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?$", service["image"])
    for other, rule in service.get("depends_on", {}).items():
        needs_check = rule["condition"] == "service_healthy"
        assert needs_check == ("healthcheck" in SERVICES[other]), f"{name} waits for {other}"
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source == "${PWD}" or source in COMPOSE["volumes"] or (DOCKER / source).exists(), volume
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "healthcheck" in service or "restart" not in service  # a service that stays is checked


def test_the_cluster_has_a_master_and_two_workers_which_prometheus_reads():
    assert MASTER in SERVICES["master"]["command"]
    assert WORKER in SERVICES["worker"]["command"]
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    hosts = {
        host.partition(":")[0] for job in scraped for part in job.get("static_configs", ()) for host in part["targets"]
    }
    hosts |= {name for job in scraped for part in job.get("dns_sd_configs", ()) for name in part["names"]}
    assert hosts <= SERVICES.keys()
    assert hosts >= {"master", "worker"}


def test_the_python_of_a_service_compiles():
    for name, service in OURS.items():
        if found := re.search(r'^python -c "(.*)"$', service.get("command", "")):
            compile(found[1], name, "exec")
