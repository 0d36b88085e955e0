"""The compiler of cells: a cell traced once, planned, and run by a target."""
