"""`python -m sim` is `dcplan`."""

from sim.cli import main

if __name__ == "__main__":
    main(prog_name="dcplan")
