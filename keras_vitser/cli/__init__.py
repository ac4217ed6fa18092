"""The command line: parses, calls one function, prints. The console script is `keras_vitser.cli.main:main`."""
