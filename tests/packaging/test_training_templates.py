"""The templates for one machine, Slurm and Kubernetes are valid, name options that exist, and restart as they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from curation.cli.completion import options_of
from curation.cli.settings import load_config
from jobs.worldcurate import parser_of
from training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "training"
SCRIPTS = [EXAMPLES / "one_machine.sh", EXAMPLES / "slurm.sbatch"]
KUBERNETES = {part["kind"]: part for part in yaml.safe_load_all((ROOT / "docker/k8s/train.yaml").read_text("utf-8"))}
POD = KUBERNETES["Job"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def command_of(script: Path) -> list[str]:
    """Return the words of a script's torchrun command."""
    [line] = re.findall(r"^.*torchrun .*$", script.read_text("utf-8").replace("\\\n", " "), re.MULTILINE)
    words = shlex.split(line.rstrip("& "))
    return words[words.index("torchrun") + 1 :]


COMMANDS = {script.name: command_of(script) for script in SCRIPTS} | {"train.yaml": CONTAINER["args"]}


def load(path: Path) -> TrainConfig:
    required = ("lake", "output")
    return load_config(TrainConfig, ["--config", str(path)], prog="train", description="", required=required)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_options_of_the_launcher_and_of_training_exist(words):
    cut = words.index("-m")
    launcher = {option for action in get_args_parser()._actions for option in action.option_strings}
    given = [word.partition("=")[0] for word in words[:cut] if word.startswith("--")]
    assert len(given) >= 4
    assert set(given) <= launcher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [])
        parser = parser_of("training.train")
    assert parser is not None
    known = {option.flag for option in options_of(parser)}
    flags = [word.partition("=")[0] for word in words[cut + 2 :] if word.startswith("--")]
    assert words[cut + 1] == "training.train"
    assert flags
    assert set(flags) <= known


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid_bash_and_executable(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert os.access(script, os.X_OK)


def test_the_configurations_are_valid(tmp_path):
    for path in (EXAMPLES / "train.yaml", EXAMPLES / "fine_tune.yaml"):
        assert load(path).resume is True
    inside = tmp_path / "train.yaml"
    inside.write_text(KUBERNETES["ConfigMap"]["data"]["train.yaml"], encoding="utf-8")
    assert load(inside).output == "/runs/1"


def test_the_parts_of_the_kubernetes_template_fit_together():
    job, name = KUBERNETES["Job"]["spec"], KUBERNETES["Job"]["metadata"]["name"]
    assert POD["subdomain"] == KUBERNETES["Service"]["metadata"]["name"]
    assert KUBERNETES["Service"]["spec"]["selector"].items() <= job["template"]["metadata"]["labels"].items()
    options = dict(word.lstrip("-").split("=", 1) for word in CONTAINER["args"] if "=" in word)
    assert options["nnodes"] == str(job["completions"]) == str(job["parallelism"])
    assert options["master-addr"] == f"{name}-0.{POD['subdomain']}"
    assert options["nproc-per-node"] == str(CONTAINER["resources"]["limits"]["nvidia.com/gpu"])
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}
    folders = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert str(Path(options["config"]).parent) in folders
    config = yaml.safe_load(KUBERNETES["ConfigMap"]["data"]["train.yaml"])
    assert str(Path(config["output"]).parent) in folders
    assert int(options["shutdown-timeout"]) < POD["terminationGracePeriodSeconds"]
    assert config["batch_size"] % (job["completions"] * int(options["nproc-per-node"])) == 0


# Each attempt of this launcher takes the next line of a plan: the name of the checkpoint that it saves, or a dash, and
# its exit code. It notes its arguments.
LAUNCHER = """#!/usr/bin/env bash
echo "$@" >> {folder}/calls
read -r saved code < <(sed -n "$(wc -l < {folder}/calls)p" {folder}/plan)
[ "$saved" = - ] || {{ mkdir -p {folder}/out/checkpoints; echo "$saved" > {folder}/out/checkpoints/latest; }}
exit "$code"
"""


@pytest.fixture
def start(tmp_path):
    """Start a script with a launcher that follows a plan; return its exit code, the attempts and the other calls."""
    programs = {
        "torchrun": LAUNCHER.format(folder=tmp_path),
        "srun": '#!/usr/bin/env bash\nexec "$@"\n',
        "scontrol": f'#!/usr/bin/env bash\n[ "$1" = show ] && echo node7 || echo "$@" >> {tmp_path}/control\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "31", "SLURM_GPUS_ON_NODE": "8"}
    environment = os.environ | slurm | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PROCESSES": "4"}

    def run(script: str, *plan: str) -> tuple[int, list[str], list[str]]:
        (tmp_path / "plan").write_text("\n".join(plan) + "\n")
        command = [str(EXAMPLES / script), "t.yaml", str(tmp_path / "out"), "--lr", "0.5"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, start_new_session=True
        )
        notes = [tmp_path / name for name in ("calls", "control")]
        calls, control = (note.read_text().splitlines() if note.exists() else [] for note in notes)
        for note in notes:
            note.unlink(missing_ok=True)
        return done.returncode, calls, control

    return run


def test_one_machine_starts_again_while_checkpoints_get_newer(start, tmp_path):
    code, calls, _ = start("one_machine.sh", "step-1 1", "step-2 1", "step-3 0")
    assert (code, len(calls)) == (0, 3)
    assert "--nproc-per-node 4 --max-restarts 0 --shutdown-timeout 600 -m training.train --config t.yaml" in calls[0]
    assert calls[0].endswith(f"--output {tmp_path / 'out'} --resume true --lr 0.5")
    assert start("one_machine.sh", "step-4 1", "- 1")[:2][0] == 1, "an attempt without a newer checkpoint is the last"


def test_a_signal_ends_the_last_attempt_on_one_machine(start, tmp_path):
    launcher = tmp_path / "bin" / "torchrun"
    launcher.write_text(
        f"#!/usr/bin/env bash\ntrap 'echo saved > {tmp_path}/saved; exit 1' TERM\necho start >> {tmp_path}/calls\n"
        f"mkdir -p {tmp_path}/out/checkpoints; echo step-1 > {tmp_path}/out/checkpoints/latest\n"
        f"kill -TERM $PPID\nwhile true; do sleep 0.05; done\n"
    )
    assert start("one_machine.sh")[:2] == (1, ["start"])
    assert (tmp_path / "saved").exists(), "the launcher is told to stop, and waited for"


def test_ctrl_c_reaches_the_launcher_on_one_machine_as_sigterm_only(start, tmp_path):
    launcher = tmp_path / "bin" / "torchrun"
    launcher.write_text(
        f"#!{sys.executable}\nimport os, pathlib, signal, sys, time\n"
        f"note = pathlib.Path({str(tmp_path / 'signals')!r})\n"
        "def end(number, _):\n    note.write_text(signal.Signals(number).name)\n    sys.exit(1)\n"
        "signal.signal(signal.SIGINT, end)\nsignal.signal(signal.SIGTERM, end)\n"
        "os.killpg(os.getpgid(os.getppid()), signal.SIGINT)\ntime.sleep(50)\n"
    )
    assert start("one_machine.sh")[0] == 1
    assert (tmp_path / "signals").read_text() == "SIGTERM"


def test_slurm_queues_a_job_again_only_if_it_made_progress(start):
    code, [call], control = start("slurm.sbatch", "step-1 1")
    assert (code, control) == (1, ["requeue 31"])
    assert "--nnodes 2 --nproc-per-node 8" in call
    assert "--rdzv-endpoint node7:29500" in call
    assert start("slurm.sbatch", "- 1")[::2] == (1, [])
    assert start("slurm.sbatch", "step-2 0")[::2] == (0, [])
