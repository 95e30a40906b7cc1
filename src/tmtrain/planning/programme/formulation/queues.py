"""[Writes]: what is final waits in a queue until it is written, one queue for each class of Note [Patience]."""

from collections.abc import Sequence

import numpy as np

from tmtrain.planning.programme.formulation.capacity import FlightFamily
from tmtrain.planning.programme.formulation.link import LinkFamily
from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import add_stock, carry
from tmtrain.planning.programme.formulation.writes import PATIENCE, QueuedWrites
from tmtrain.planning.programme.programme import Programme


def add_write_queues(
    programme: Programme,
    scale: ModelScale,
    queued: Sequence[QueuedWrites],
    *,
    link: LinkFamily,
    flight: FlightFamily,
) -> None:
    """Add owed_kb, waiting_kb and out_kb, whose sum over the classes is out_b."""
    num_bins, total = scale.num_bins, scale.total
    whole = programme.add_rows("out", num_bins, lower=0.0, upper=0.0)
    programme.put(whole, link.pages_out, -1.0)
    for k in range(len(PATIENCE) + 1):
        out = programme.add_columns(f"out {k}", num_bins, upper=total)
        programme.put(whole, out, 1.0)
        owed = programme.add_columns(f"owed {k}", num_bins, upper=total)
        rows = programme.add_rows(f"owed {k}", num_bins, lower=0.0, upper=0.0)
        carry(programme, rows, owed)
        programme.put(rows, out, 1.0)
        for writes in queued:
            chosen = writes.patience == k
            final = scale.bin_of(writes.final[chosen])
            programme.put(rows[final], writes.columns[chosen], -writes.sign)
        waiting = programme.add_columns(f"waiting {k}", num_bins, lower=-total, upper=2 * total)
        # Only the ends of bins count what is late, so the wait is looked at there alone.
        stretches = [writes.waiting.of(writes.patience == k).in_bins(scale) for writes in queued]
        add_stock(programme, f"waiting {k}", waiting, stretches)
        rows = programme.add_rows(f"late {k}", num_bins, lower=0.0, upper=np.inf)
        programme.put(rows, flight.late[k], 1.0)
        programme.put(rows, owed, -1.0)
        programme.put(rows, waiting, 1.0)
