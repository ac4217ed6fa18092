"""serving/: the files that an operator deploys agree with each other and with what is exported."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.backends("tensorflow")

FOLDER = Path(__file__).parents[2] / "serving"
OLDEST_LIBRARY = (2, 17, 1)  # that an export is loaded with, see the Makefile


def container(kind):
    """Image and flags of TensorFlow Serving."""
    if kind == "compose":
        service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["serving"]
        return service["image"], service["command"]
    documents = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    deployment = next(document for document in documents if document["kind"] == "Deployment")
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only["image"], only["args"]


def test_both_ways_run_one_pinned_version_with_the_same_flags():
    assert container("compose") == container("kubernetes")
    name, _, version = container("compose")[0].partition(":")
    assert name == "tensorflow/serving"
    assert tuple(int(number) for number in version.split(".")) >= OLDEST_LIBRARY
    assert f"OLD_TENSORFLOW := {'.'.join(map(str, OLDEST_LIBRARY))}" in (FOLDER.parent / "Makefile").read_text()


def test_the_graph_joins_requests_and_the_server_does_not():
    assert not [flag for flag in container("compose")[1] if "enable_batching" in flag]


def test_two_versions_have_labels():
    text = (FOLDER / "models.config").read_text()
    assert re.findall(r"versions: (\d+)", text) == ["1", "2"]
    assert re.findall(r'key: "(\w+)"\s+value: (\d+)', text) == [("stable", "1"), ("canary", "2")]


def test_prometheus_reads_what_the_server_writes():
    (path,) = re.findall(r'path: "(.*)"', (FOLDER / "monitoring.config").read_text())
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == path
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    assert job["static_configs"][0]["targets"][0].partition(":")[0] in services


def test_the_pods_get_both_configs():
    (generated,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    assert all((FOLDER / name).is_file() for name in generated["files"])
    flags = " ".join(container("kubernetes")[1])
    assert all(f"/config/{name}" in flags for name in generated["files"])
    assert generated["name"] in (FOLDER / "kubernetes.yaml").read_text()


def start_local(folder, path):
    command = ["sh", str(folder / "start_local.sh"), "8601", "8600"]
    return subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def deployed(tmp_path):
    """A copy of the folder, and a PATH with a `tensorflow_model_server` that prints how it was started."""
    folder = tmp_path / "serving"
    folder.mkdir()
    for name in ("start_local.sh", "models.config", "monitoring.config"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    server = tmp_path / "bin" / "tensorflow_model_server"
    server.parent.mkdir()
    server.write_text(
        '#!/bin/sh\necho "$@"\nfor flag; do case $flag in --model_config_file=*) cat "${flag#*=}";; esac; done\n'
    )
    server.chmod(0o755)
    return folder, f"{server.parent}:{os.environ['PATH']}"


def test_a_local_server_is_started_on_the_models_of_the_folder(deployed):
    folder, path = deployed
    (folder / "models" / "vit_ser" / "1").mkdir(parents=True)
    ended = start_local(folder, path)
    assert ended.returncode == 0, ended.stderr
    assert "--rest_api_port=8601 --port=8600" in ended.stdout
    assert f'base_path: "{folder}/models/vit_ser"' in ended.stdout


def test_what_is_missing_is_said_in_one_line(deployed):
    folder, path = deployed
    without_model, without_server = start_local(folder, path), start_local(folder, "/usr/bin:/bin")
    assert (without_model.returncode, without_server.returncode) == (2, 2)
    assert "keras-vitser export" in without_model.stderr
    assert "keras-vitser serve" in without_server.stderr
    assert without_model.stderr.count("\n") == without_server.stderr.count("\n") == 1
