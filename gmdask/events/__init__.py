"""What happens during long work, as plain data for whoever wants to show or keep it.

Nothing that sends an event knows of a screen, a file or a notebook. All that is told of a fit goes
over one `Bus`, to which progress, the file of events and the live view subscribe.
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
