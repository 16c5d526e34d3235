"""`python -m lgbench` is the command line."""

from lgbench.cli import main

if __name__ == "__main__":
    main()
