"""Modules that dbt loads: it imports every module on its path whose name starts with ``dbt_``.

Builds put this folder on dbt's path (``orchestration.operations.build.dbt_environment``).
"""
