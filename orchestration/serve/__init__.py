"""The processes of `warehouse serve`."""
