"""Queue providers: base.py is the seam, routing.py asks Oneiric, and each provider has a file or a folder."""
