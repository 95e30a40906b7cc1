"""Options that several commands share, declared once. What they mean stands in each command's docstring."""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter

from tmtrain.capturing import StepOptions
from tmtrain.policies import POLICIES

DEFAULT_FAST = "12.5%"
"""Of the fast tier: the share at which the field's headline numbers are given."""


_SEVERAL = Parameter(consume_multiple=True, negative=(), show_default=False)

Several: TypeAlias = Annotated[tuple[str, ...], _SEVERAL]
"""One option, one or more values: ``--fast 12.5% 25%``."""
SeveralFolders: TypeAlias = Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)]
"""One option, said once for each: ``--flash A --flash B``."""
PolicyName: TypeAlias = Annotated[str, Parameter(choices=POLICIES)]
SeveralPolicies: TypeAlias = Annotated[tuple[str, ...], _SEVERAL, Parameter(choices=POLICIES)]
ModelOptions: TypeAlias = Annotated[
    StepOptions, Parameter(name="*", group=Group("Options of zoo models", sort_key=9))
]
"""Each field of `StepOptions` as an option of its own."""
