"""`python -m fusionlib`."""

from fusionlib.cli import main

if __name__ == "__main__":
    main()
