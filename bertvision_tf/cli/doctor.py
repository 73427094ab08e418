"""`bertvision doctor`: what this machine has, and what is missing."""

from ..errors import BertvisionError, find_reason
from .app import app
from .process import start_tensorflow


@app.command
def doctor(*, trial: bool = True) -> int:
    """Say what this machine has for the library, and what is missing for which verb; try the whole way once.

    Exits with 1 where the library does not work here.

    Args:
        trial: Extract, read, train and predict with MiniLM on rows of the starter task; ten seconds.
    """
    try:
        start_tensorflow()
    except ImportError as error:
        raise BertvisionError(
            f"TensorFlow cannot be imported: {find_reason(error)}; install the library anew."
        ) from None
    from ..experiments.doctor import examine

    topic, broken = "", 0
    for finding in examine(trial):
        if finding.topic != topic:
            topic = finding.topic
            print(topic)
        print(f"  {finding.name:<16} {finding.found}", flush=True)
        if finding.remedy:
            print(f"  {'':<16} → {finding.remedy}")
        broken += finding.broken
    print("the library does not work here" if broken else "the library works here")
    return int(broken > 0)
