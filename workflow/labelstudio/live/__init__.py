"""Live help: a Label Studio ML backend on this machine, for whom a person waits.

`app` speaks HTTP and knows who may ask; `predictor` guesses whole images and `prompted` draws a mask from
clicks; `soon` pulls after a webhook; `connected` makes a project on the server know of us, and forget us.
"""
