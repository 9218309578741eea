"""What developers of hooklab itself run: the whole test, and the pinning of its requirements."""
