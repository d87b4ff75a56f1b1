"""The only wing that knows Label Studio: client, labeling interface, regions, push, pull, live help."""
