"""Compile loops to machine code with numba, once per machine."""
