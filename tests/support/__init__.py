"""Helpers that tests share.

`lines`: event lines and files, and what a warehouse holds of them. `building`: events to load,
builds by a dbt that stays warm, and rows of models. `mart_comparison`: marts against the reference.
`demo`: the demo's warehouse, served.
`people`: two tenants with rows in every mart, and roles that sign in. `processes`: the command line
in processes of its own. `killed_builds`: builds that are killed at a chosen point. `erasing`: what
is of whom, for erasures. `webhook`: a listener for notifications. `mutants`: faults to plant.
"""
