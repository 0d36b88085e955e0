"""C that is made and loaded as it is needed: the toolchain, the text that every source begins with, two functions."""
