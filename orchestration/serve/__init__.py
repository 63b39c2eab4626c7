"""The servers of `warehouse serve`."""
