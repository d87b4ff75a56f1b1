"""What is no stage, one command a file: import, export, predict, ledger, history, serve, demo and others."""
