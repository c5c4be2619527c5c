"""What a person needs to approve a bundle, as one page that needs nothing else.

`facts` gathers it, `page` writes it with `charts` and `markup`; style.css is how it looks.
"""
