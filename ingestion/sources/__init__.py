"""Sources of lines: files, DuckDB mappings, the drop folder."""
