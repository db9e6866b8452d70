"""The API for programs and people beside kubectl. Empty until it is built."""
