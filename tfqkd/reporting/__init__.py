"""Tables, figures and pages from what runs have written."""
