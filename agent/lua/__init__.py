"""Argo CD's Lua health checks, in a process of their own that can be killed."""
