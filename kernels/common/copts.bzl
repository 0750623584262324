"""Compiler options of kernel files: loops are vectorised, and no loop waits on errno or floating-point traps."""

KERNEL_COPTS = [
    "-O2",
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-fno-math-errno",
    "-fno-trapping-math",
]
