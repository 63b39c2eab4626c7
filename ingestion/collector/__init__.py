"""The HTTP collector: takes events over HTTP, spools them on disk and lands them."""
