"""A page for one's own computer: what a network sees in a photograph, and what a pixel of it attends to.

`answers.py` asks networks, `markup.py` writes what they answer as HTML, `blocks.py` is the page
of gradio, and `style.py` what the browser does by itself.
"""
