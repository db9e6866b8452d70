"""Wire models, digests, signatures and words that both sides must agree on."""
