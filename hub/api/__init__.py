"""The CRDs as pydantic models, and their schemas."""
