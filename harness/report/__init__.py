"""What a run looks like to people: terminal text and HTML, pure functions of a run folder."""
