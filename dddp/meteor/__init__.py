"""What ``meteor build --directory`` makes: reading it, and what is served of it.

Pure but for reading the bundle's files; knows neither Django nor HTTP, nor this server's own DDP.
"""
