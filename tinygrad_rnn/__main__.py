"""`python -m tinygrad_rnn`: the command line, as `tinygrad-rnn`."""

from .cli import main

if __name__ == "__main__":
    main()
