"""An Airflow 3 DAG that runs the night of each day, and tries it again only after exit code 3.

Copy it to the folder of DAGs. Set CURATION_CONFIG to the config of the lake, whose `ingest.inputs` name the batch by
`{batch}`, and CURATION_PYTHON to the interpreter that has worldcurate; Airflow itself does not need it.
"""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

CONFIG = os.environ.get("CURATION_CONFIG", "/etc/worldcurate/night.yaml")
PYTHON = os.environ.get("CURATION_PYTHON", "/opt/worldcurate/bin/python")
RETRIED = {3, 130, 137, 143}  # inputs that are late, another process with the lease; stopped or killed


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 6, "retry_delay": timedelta(minutes=15), "retry_exponential_backoff": True},
)
def worldcurate_nightly() -> None:
    """Run the night of the day that ends the data interval."""

    @task
    def night(ds: str | None = None) -> None:
        command = [PYTHON, "-m", "jobs.nightly", "--config", CONFIG, "--batch", str(ds)]
        code = subprocess.run(command, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}).returncode  # noqa: S603
        code = 128 - code if code < 0 else code  # a negative code is the number of a signal
        if code == 0:
            return
        if code in RETRIED:
            raise RuntimeError(f"exit code {code}: the night is tried again")
        raise AirflowFailException(f"exit code {code}: the night needs a person")

    night()


worldcurate_nightly()
