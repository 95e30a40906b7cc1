"""Options that several commands share, declared once. What they mean stands in each command's docstring.

Knows no room: ``tmtrain doctor`` loads this file where numpy or torch is missing. Options that need a room stand with what
they are for: `tmtrain.cli.scene`, `tmtrain.cli.decision`, `tmtrain.cli.limits`.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

DEFAULT_FAST = "12.5%"
"""Of the fast tier: the share at which the field's headline numbers are given."""

Flag: TypeAlias = Annotated[bool, Parameter(negative=(), show_default=False)]
"""An option that is given or not."""
SEVERAL = Parameter(consume_multiple=True, negative=(), show_default=False)
Several: TypeAlias = Annotated[tuple[str, ...], SEVERAL]
"""One option, one or more values: ``--fast 12.5% 25%``."""
SeveralFolders: TypeAlias = Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)]
"""One option, said once for each: ``--flash A --flash B``."""
