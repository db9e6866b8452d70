"""Where what is deployed comes from: Git today, one port for whatever comes next."""
