"""The command `vigie-client`."""

from vigie_client.cli.commands import main

__all__ = ["main"]
