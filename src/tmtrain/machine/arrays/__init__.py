"""Systolic arrays in closed form, and the matrix products that operators are to them. Knows of a machine only Compute."""

from tmtrain.machine.arrays.attention import Attention
from tmtrain.machine.arrays.convolution import Convolution, Window
from tmtrain.machine.arrays.cycles import matrix_cycles, matrix_seconds
from tmtrain.machine.arrays.products import Products
from tmtrain.machine.arrays.traffic import Elements, dram_elements, sram_bytes, sram_elements

__all__ = [
    "Attention",
    "Convolution",
    "Elements",
    "Products",
    "Window",
    "dram_elements",
    "matrix_cycles",
    "matrix_seconds",
    "sram_bytes",
    "sram_elements",
]
