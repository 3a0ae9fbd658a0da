"""Events of long work, as plain data that any listener can show or store.

The code that emits an event knows nothing of terminals, files or notebooks. All events of a fit go
through one `Bus`, to which the progress display, the event file and the live view subscribe.
"""

from gmdask.events.files import (
    EventFile,
    read_events,
)
from gmdask.events.kinds import (
    Accepted,
    Bus,
    CheckpointFailed,
    CheckpointWritten,
    CompileEnd,
    DatasetsProgress,
    Event,
    FitEnd,
    FitFailed,
    FitPass,
    FitStart,
    Listener,
    Planned,
    RunStart,
    WorkerLost,
    Workers,
)
from gmdask.events.records import (
    counted,
    line_of,
    record,
)

__all__ = [
    "Accepted",
    "Bus",
    "CheckpointFailed",
    "CheckpointWritten",
    "CompileEnd",
    "DatasetsProgress",
    "Event",
    "EventFile",
    "FitEnd",
    "FitFailed",
    "FitPass",
    "FitStart",
    "Listener",
    "Planned",
    "RunStart",
    "WorkerLost",
    "Workers",
    "counted",
    "line_of",
    "read_events",
    "record",
]
