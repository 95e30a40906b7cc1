"""Convolutions, and the matrix products that they are to an array."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tmtrain.errors import InputError
from tmtrain.machine.arrays.products import Products

ConvolutionLowering: TypeAlias = Literal["im2col", "direct"]
"""im2col: the taps of the filter lie along k, beside the channels. direct: one product per tap, sums added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One axis of a convolution: a kernel that moves along the input.

    >>> Window(size=224, kernel=7, stride=2, before=3, after=3).outputs
    112
    """

    size: int
    """Of the input."""
    kernel: int
    stride: int = 1
    before: int = 0
    """Padding in front of the input."""
    after: int = 0
    """Padding behind it."""
    dilation: int = 1
    """Steps from one tap of the kernel to the next."""

    def __post_init__(self) -> None:
        """Refuse windows that fit nowhere.

        Raises:
            InputError: says which number is wrong.
        """
        for name in ("size", "kernel", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a convolution is {getattr(self, name)}: give at least 1")
        if min(self.before, self.after) < 0:
            raise InputError(f"padding of a convolution is {self.before}, {self.after}: give 0 or more")
        if self.outputs < 1:
            raise InputError(
                f"a kernel that spans {self._span} does not fit into {self.size} inputs with "
                f"{self.before} + {self.after} of padding: make the input larger or the kernel smaller"
            )

    @property
    def outputs(self) -> int:
        """Positions of the kernel."""
        return (self.before + self.size + self.after - self._span) // self.stride + 1

    @property
    def inputs(self) -> int:
        """Distinct inputs that some position of the kernel sees: fewer than `size` where it strides over some."""
        starts = np.arange(self.outputs) * self.stride - self.before
        seen = (starts[:, None] + np.arange(self.kernel) * self.dilation).ravel()
        return len(np.unique(seen[(seen >= 0) & (seen < self.size)]))

    @property
    def _span(self) -> int:
        return (self.kernel - 1) * self.dilation + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A two-dimensional convolution of a batch of images.

    >>> stem = Window(size=224, kernel=7, stride=2, before=3, after=3)
    >>> first = Convolution(images=8, channels=3, filters=64, height=stem, width=stem)
    >>> {name: size.tolist() for name, size in first.products().sizes.items()}
    {'batch': 1, 'm': 100352, 'n': 64, 'k': 147}
    """

    images: int
    channels: int
    """Of the input, over all groups."""
    filters: int
    """Channels of the result, over all groups."""
    height: Window
    width: Window
    groups: int = 1
    """Each sees its share of the channels alone; depthwise: as many as channels."""

    def __post_init__(self) -> None:
        """Refuse sizes that make no convolution.

        Raises:
            InputError: says which number is wrong.
        """
        for name in ("images", "channels", "filters", "groups"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a convolution is {getattr(self, name)}: give at least 1")
        if self.channels % self.groups or self.filters % self.groups:
            raise InputError(
                f"{self.groups} groups do not divide {self.channels} channels and {self.filters} filters: "
                "both must be multiples of them"
            )

    def products(self, *, lowering: ConvolutionLowering = "im2col") -> Products:
        """Return the matrix products of the forward pass: results x filters, summed over what a filter sees.

        A group is a product of its own. `Products.backward` of them are those of the gradients: as many operations again
        for the gradient of the input, and for that of the filters.
        """
        taps = self.height.kernel * self.width.kernel
        per_group = {
            "m": self.images * self.height.outputs * self.width.outputs,
            "n": self.filters // self.groups,
        }
        channels = self.channels // self.groups
        if lowering == "im2col":
            return Products.of(batch=self.groups, k=taps * channels, **per_group)
        return Products.of(batch=self.groups * taps, k=channels, **per_group)

    @property
    def input_elements(self) -> int:
        """Distinct elements of the input that the result depends on."""
        return self.images * self.channels * self.height.inputs * self.width.inputs
