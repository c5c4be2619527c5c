"""The Docker daemon: where it is, what it holds, how images get into it.

The docker SDK is at home here and nowhere else. Importing this package imports none of it:
`engine.endpoint` is light, `engine.daemon` is not.
"""
