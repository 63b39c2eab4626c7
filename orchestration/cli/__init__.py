"""The command line: one module per command.

`app` registers the commands, `options` holds what several commands ask for, `output` prints.
Modules of commands import heavy packages inside functions, so that `warehouse --help` is fast.
"""
