"""Between the project's files and Label Studio: what push and pull are made of."""
