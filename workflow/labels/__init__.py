"""What people say: whose word counts, its history, renamed classes, blind images, probes, the ledger."""
