"""A Flag: an option that is given or not. Apart from `options`, so that ``tmtrain doctor`` loads no room."""

from typing import Annotated, TypeAlias

from cyclopts import Parameter

Flag: TypeAlias = Annotated[bool, Parameter(negative=(), show_default=False)]
