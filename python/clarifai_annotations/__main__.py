"""The command `clarifai-annotations`, which needs an extra that the library does not."""

import sys


def main() -> None:
    """Run the command, or say what to install for it."""
    try:
        from .cli import app
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing.name} is not installed: pip install 'clarifai-annotations[cli]'")
    app()


if __name__ == "__main__":
    main()
