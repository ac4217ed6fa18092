"""`keras-vitser track`."""

import dataclasses
from pathlib import Path

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import out, show_log, working
from keras_vitser.files import strict_json


def track(
    run: Path = typer.Argument(help="A run folder whose run has ended; it need not have been tracked before."),
    uri: str = typer.Option(None, help="MLflow's tracking URI. Default: where the run was tracked, or its config's."),
    register: str = typer.Option(None, help="Name of a registered model; the run's model becomes a version of it."),
    alias: str = typer.Option(None, help="Alias of that version, champion for instance."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Bring MLflow what it lacks of a run, from the run folder alone. May be called again.

    Examples: keras-vitser track runs/RUN --- keras-vitser track runs/RUN --uri http://SERVER:5000 --register speech
    --alias champion
    """
    choose_backend(None)
    show_log()
    with working("tracking"):
        from keras_vitser import experiments

        tracked = experiments.track(run, uri=uri, register=register, alias=alias)
    if as_json:
        print(strict_json(dataclasses.asdict(tracked)))
        return
    out.print(f"tracked: {tracked.uri}, run {tracked.run_id}", markup=False)
    out.print(f"serve it: {_serve(tracked)}", markup=False)
    if register:
        name = f"{register}@{alias}" if alias else f"{register}/{tracked.version}"
        out.print(f"registered: models:/{name} (version {tracked.version})", markup=False)


def _serve(tracked) -> str:
    return f"MLFLOW_TRACKING_URI={tracked.uri} mlflow models serve --env-manager local -m {tracked.model_uri}"
