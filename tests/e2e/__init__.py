"""longshore from the outside: real clients, a real engine, real crashes.

`tests/tools/install` installs and builds what these tests need; `pytest tests/e2e` runs them. With
`-n 2 --dist loadfile` each file keeps the server and the engine that its tests share. They need root, as an
engine does, and leave nothing behind: what they start has its own ports, folders, bridge and process group.
"""
