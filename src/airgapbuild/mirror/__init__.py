"""A read-only registry: catalog < stock, answers < app < server.

`catalog` is what is served, `stock` fills it from bundles and layouts, `answers` knows the
distribution specification, `app` speaks ASGI and sends bytes, `server` runs it: uvicorn is at home
there and nowhere else, bcrypt in `htpasswd`.
"""
