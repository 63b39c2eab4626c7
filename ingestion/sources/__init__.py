"""Where lines come from: files, mappings, the drop folder."""
