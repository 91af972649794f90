"""What a run is asked for: settings in groups, each declared once. Imports nothing heavy."""
