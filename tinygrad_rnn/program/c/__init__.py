"""The C target: a cell as C source, compiled by the system's compiler and called through ctypes."""
