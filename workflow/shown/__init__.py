"""What people look at: the report, its figures, the FiftyOne dataset."""
