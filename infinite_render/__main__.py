"""`python -m infinite_render` is `infrender`."""

from infinite_render.cli.main import main

if __name__ == "__main__":
    main()
