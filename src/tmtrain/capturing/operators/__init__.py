"""The operators that PyTorch runs on an accelerator, taken where a CPU would run others. Makes no Trace; knows no model."""
