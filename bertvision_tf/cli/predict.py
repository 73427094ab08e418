"""`bertvision predict`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..errors import TaskError
from .app import app
from .process import start_tensorflow


@app.command
def predict(
    run: Path | None = None,
    /,
    *,
    input: Path,
    output: Path,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    coverage: Annotated[float | None, Parameter(validator=Number(gte=0.05, lte=1))] = None,
    url: str | None = None,
    signature: str = "serving_default",
    timeout: Annotated[float, Parameter(validator=Number(gte=0.1, lte=86400))] = 60.0,
) -> None:
    """Predict the rows of a table with a run's head, or with a model behind TensorFlow Serving.

    Args:
        run: Folder of a finished run; or --url instead.
        input: A .csv, .tsv, .jsonl or .parquet file.
        output: A .csv or .tsv file: the same rows, a prediction, and how sure it is.
        text_column: Default: the task's own, as in 'sentence'.
        text_pair_column: For tasks on pairs.
        coverage: Predict only where the run is sure enough: 0.8 keeps as many rows as the surest 80% of the selection
            rows. Other predictions stay empty, and the column sure says no.
        url: A served model: http://HOST:8501/v1/models/NAME, or grpc://HOST:8500/NAME.
        signature: Of the served model.
        timeout: Seconds that a served model may take.
    """
    if (run is None) == (url is None):
        raise TaskError("name a run or a --url, one of both.")
    if coverage is not None and url is not None:
        raise TaskError("--coverage needs a run; a served model gives its probabilities.")
    if input.resolve() == output.resolve():
        raise TaskError(f"--output {output} is the input: name another file.")
    start_tensorflow()
    from ..runs import load_run
    from ..serving.client import ServedModel
    from ..serving.columns import predict_with_model, predict_with_run, write_columns
    from ..tasks.tables import check_writable, read_table

    table = read_table(input)
    check_writable(output)
    if url is not None:
        columns = predict_with_model(ServedModel(url, signature, timeout), table, text_column, text_pair_column)
    elif run is not None:
        columns = predict_with_run(load_run(run), table, text_column, text_pair_column, coverage)
    write_columns(output, table, columns)
    print(f"{output}: {len(table)} rows")
