"""`python -m bertvision_tf` is the command `bertvision`."""

from .cli import main

if __name__ == "__main__":
    main()
